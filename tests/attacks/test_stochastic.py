"""Against noise of known size: expectation over transformation, and evidence before an example is let go."""

import math

import pytest
import torch
from torch import nn

from bench.attacks.adapters.pyautoattack import AutoAttack, FABTargeted
from bench.attacks.apgd import APGD
from bench.attacks.pgd import PGD
from bench.attacks.square import Square
from bench.attacks.stadv import StAdv
from bench.errors import BenchError
from bench.types import ThreatModel


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


def test_square_lets_no_example_go_on_a_lucky_draw(launch, noisy_halfspace, images):
    """Half of the draws are wrong and ten of ten are demanded, so the search goes on to its last query."""
    model = noisy_halfspace(noise=3.0)
    x = images(8)
    y = model.halfspace(x).argmax(1)

    _, oracle = launch(
        Square(queries=60), model, x, y, ThreatModel.parse("Linf:0.001"), stochastic=True, access="score"
    )

    assert (oracle.forwards >= 61).sum() >= 7


def test_square_lets_a_broken_example_go(launch, noisy_halfspace, images):
    """An error rate of one survives every fresh draw: the search ends long before its last query."""
    model = noisy_halfspace(noise=0.05)
    x = images(8)
    y = model.halfspace(x).argmax(1)
    threat = ThreatModel.parse("Linf:0.2")

    x_adv, oracle = launch(Square(queries=500), model, x, y, threat, stochastic=True, access="score")

    assert (model.error_rate(x_adv, y) > 0.9).all()
    assert oracle.forwards.max() < 300


def test_square_raises_the_error_rate_through_noise(launch, noisy_halfspace, images, threat):
    """Moves are accepted by noisy draws, and yet a good part of the reachable margin is found."""
    model = noisy_halfspace(noise=0.1)
    x = images(8)
    y = model.halfspace(x).argmax(1)

    x_adv, _ = launch(Square(queries=300), model, x, y, threat, stochastic=True, access="score")

    found, reachable = (
        (model.halfspace(points) - model.halfspace(x)).gather(1, 1 - y[:, None]).mean()
        for points in (x_adv, strongest(model, x, y, threat))
    )
    assert found > 0.35 * reachable


def test_stadv_averages_over_draws(launch, images):
    """A flow that the noise of a single draw hides is found with twenty."""

    class NoisyEdge(nn.Module):
        def forward(self, x):
            noisy = x + 0.5 * torch.randn_like(x)
            gap = noisy[..., 4:].mean((1, 2, 3)) - noisy[..., :4].mean((1, 2, 3))
            return torch.stack([gap, -gap], 1)

    x = torch.linspace(0.2, 0.8, 8).expand(4, 1, 8, 8).clone()
    y = torch.zeros(4, dtype=torch.int64)

    x_adv, _ = launch(StAdv(steps=20, eot=20), NoisyEdge(), x, y, ThreatModel.parse("stadv:1"), stochastic=True)

    gap = (x_adv[..., 4:].mean((1, 2, 3)) - x_adv[..., :4].mean((1, 2, 3))) / (
        x[..., 4:].mean((1, 2, 3)) - x[..., :4].mean((1, 2, 3))
    )
    # Every column but the first can be read one pixel further in; that takes 2/7 to 4/7 of the gap.
    assert (gap < 0.85).all()


def test_autoattack_runs_its_rand_version(launch, noisy_halfspace, images, threat):
    """On a stochastic defense: APGD with EOT, neither FAB-T nor Square, and 20 draws per gradient."""
    model = noisy_halfspace(noise=1.0)
    x = images(1)
    y = model.halfspace(x).argmax(1)

    x_adv, oracle = launch(AutoAttack(eot=2), model, x, y, ThreatModel.parse("Linf:0.0001"), stochastic=True)

    assert math.isfinite(x_adv.sum())
    # 100 steps and the start, two draws each; with two classes only the cross-entropy is defined.
    assert oracle.backwards.tolist() == [202]


def test_fab_refuses_a_stochastic_defense(launch, noisy_halfspace, images, threat):
    """Its steps assume that one image has one prediction; the remedy is named."""
    model = noisy_halfspace()
    x = images(1)

    with pytest.raises(BenchError, match="use apgd-ce"):
        launch(FABTargeted(), model, x, torch.tensor([0]), threat, stochastic=True)
