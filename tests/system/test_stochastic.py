"""Against noise of known size: expectation over transformation, and evidence before an example is let go."""

import pytest
import torch
from torch import nn

from bench.attacks.lp.apgd import APGD
from bench.attacks.lp.pgd import PGD
from bench.attacks.lp.square import Square
from bench.threats import ThreatModel


@pytest.fixture
def threat():
    return ThreatModel.parse("Linf:0.02")


def strongest(model, x, y, threat):
    """The point of the ball with the largest error rate: it is a corner, known in closed form."""
    weight = model.halfspace.weight
    push = (weight[1 - y] - weight[y]).sign().view_as(x)
    return x + float(threat.eps) * push


@pytest.mark.parametrize("attack", [PGD(eot=20, momentum=0.75), APGD(steps=30, eot=20)], ids=["pgd", "apgd"])
def test_eot_finds_the_point_of_highest_error_rate(launch, noisy_halfspace, images, attack):
    """The error rate at x_adv is within 2 % of the largest in the ball, computed exactly.

    The rates are kept below 0.7, where twenty of twenty wrong draws, which end an attack, are rare.
    """
    model, threat = noisy_halfspace(noise=2.0), ThreatModel.parse("Linf:0.01")
    x = images(8)
    y = model.halfspace(x).argmax(1)

    x_adv, _ = launch(attack, model, x, y, threat, stochastic=True)

    most = model.error_rate(strongest(model, x, y, threat), y)
    assert most.max() < 0.7
    assert (model.error_rate(x_adv, y) >= 0.98 * most).all()


def test_more_draws_find_a_better_point_under_noisy_gradients(launch, images, threat):
    """A weight redrawn at every call misleads a single draw; the mean of twenty points the right way."""

    class NoisyWeight(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.randn(64, generator=torch.Generator().manual_seed(1))

        def forward(self, x):
            logit = ((x - 0.5).flatten(1) * (self.weight + 6 * torch.randn(len(x), 64))).sum(1)
            return torch.stack([logit, torch.zeros_like(logit)], 1)

    model = NoisyWeight()
    x = images(16)
    y = torch.zeros(16, dtype=torch.int64)

    few, _ = launch(PGD(eot=1), model, x, y, threat, stochastic=True)
    many, _ = launch(PGD(eot=20), model, x, y, threat, stochastic=True)

    mean = [((points - x).flatten(1) @ model.weight).mean().item() for points in (few, many)]
    assert mean[1] < 1.1 * mean[0] < 0


@pytest.mark.parametrize("attack", [PGD(eot=1), PGD(eot=20), APGD(steps=20, eot=20)], ids=["one-draw", "eot", "apgd"])
def test_a_lucky_draw_lets_no_example_go(launch, noisy_halfspace, images, attack):
    """At an error rate near one half some draw is wrong at once; every step is taken all the same."""
    model = noisy_halfspace(noise=3.0)
    x = images(8)
    y = model.halfspace(x).argmax(1)

    _, oracle = launch(attack, model, x, y, ThreatModel.parse("Linf:0.001"), stochastic=True)

    assert (oracle.backwards == attack.eot * 21).all()


def test_one_lucky_query_ends_no_attack(launch, noisy_halfspace, images, monkeypatch):
    """Fifty fresh draws confirm a success, so the search goes on to within a point of what is reachable.

    Let go at the first query of which all twenty draws are wrong, it ends three points lower, and
    every one of them is robust accuracy that is not there.
    """
    model, threat = noisy_halfspace(noise=1.0), ThreatModel.parse("Linf:0.03")
    x = images(32)
    y = model.halfspace(x).argmax(1)
    attack = PGD(eot=20, momentum=0.75)

    confirmed, _ = launch(attack, model, x, y, threat, stochastic=True)
    monkeypatch.setattr("bench.oracle.oracle.CONFIRMING_DRAWS", 0)
    first, _ = launch(attack, model, x, y, threat, stochastic=True)

    most, late, early = (
        model.error_rate(points, y).mean().item() for points in (strongest(model, x, y, threat), confirmed, first)
    )
    assert most - late < 0.01
    assert late - early > 0.015


@pytest.mark.slow
def test_ten_draws_a_move_find_more_than_ten_times_the_moves(launch, noisy_halfspace, images):
    """Judged on single draws, at the same number of passes, noise passes for progress."""
    model, threat = noisy_halfspace(noise=1.0), ThreatModel.parse("Linf:0.04")
    x = images(16)
    y = model.halfspace(x).argmax(1)

    mean, single = (
        model.error_rate(launch(attack, model, x, y, threat, stochastic=True, access="score")[0], y).mean().item()
        for attack in (Square(queries=80, eot=10), Square(queries=800, eot=1))
    )

    assert mean > single + 0.1
