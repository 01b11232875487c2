"""Against noise of known size: expectation over transformation, and evidence before an example is let go."""

import itertools
import math

import pytest
import torch
from torch import nn

from bench.attacks.adapters.pyautoattack import AutoAttack
from bench.attacks.apgd import APGD
from bench.attacks.fab import FABTargeted
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
    monkeypatch.setattr("bench.oracle.CONFIRMING_DRAWS", 0)
    first, _ = launch(attack, model, x, y, threat, stochastic=True)

    most, late, early = (
        model.error_rate(points, y).mean().item() for points in (strongest(model, x, y, threat), confirmed, first)
    )
    assert most - late < 0.01
    assert late - early > 0.015


@pytest.mark.parametrize("eot", [1, 10])
def test_square_lets_no_example_go_on_a_lucky_draw(launch, noisy_halfspace, images, eot):
    """Half of the draws are wrong and sixty of sixty are demanded, so the search goes on to its last move."""
    model = noisy_halfspace(noise=3.0)
    x = images(8)
    y = model.halfspace(x).argmax(1)

    _, oracle = launch(
        Square(queries=40, eot=eot), model, x, y, ThreatModel.parse("Linf:0.001"), stochastic=True, access="score"
    )

    assert oracle.forwards.tolist() == [eot * (2 * 40 + 1)] * 8


def test_square_lets_a_broken_example_go(launch, noisy_halfspace, images):
    """An error rate of one survives every fresh draw: the search ends long before its last move."""
    model = noisy_halfspace(noise=0.05)
    x = images(8)
    y = model.halfspace(x).argmax(1)
    threat = ThreatModel.parse("Linf:0.2")

    x_adv, oracle = launch(Square(queries=500, eot=10), model, x, y, threat, stochastic=True, access="score")

    assert (model.error_rate(x_adv, y) > 0.99).all()
    assert oracle.forwards.max() < 10 * (2 * 500 + 1) / 4


@pytest.mark.slow
def test_square_raises_the_error_rate_with_every_query(launch, noisy_halfspace, images):
    """The exact error rate of the noisy defense climbs with the number of moves, most of the way up."""
    model, threat = noisy_halfspace(noise=1.0), ThreatModel.parse("Linf:0.04")
    x = images(16)
    y = model.halfspace(x).argmax(1)

    points = [
        launch(Square(queries=queries, eot=10), model, x, y, threat, stochastic=True, access="score")[0]
        for queries in (10, 40, 120)
    ]

    rates = [model.error_rate(each, y).mean().item() for each in (x, *points, strongest(model, x, y, threat))]
    assert all(more > less + 0.05 for less, more in itertools.pairwise(rates))
    assert rates[3] > 0.6


@pytest.fixture
def believed(launch, monkeypatch):
    """The mean of sigmoid(margin) at the point Square holds, as it takes it to be, and as 2,000 draws give it."""

    def run(attack, model, x, y, threat):
        kept = []
        monkeypatch.setattr("bench.attacks.square._Found.keep", lambda found, state: kept.append(state))
        launch(attack, model, x, y, threat, stochastic=True, access="score")
        (state,) = kept
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            gaps = torch.stack([_gap(model(state.x_best), y) for _ in range(2000)])
        return (state.total / state.drawn).mean().item(), gaps.sigmoid().mean().item()

    return run


def _gap(logits, y):
    return (logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def test_square_is_not_fooled_by_the_draws_that_won(believed, noisy_halfspace, images):
    """What it takes its point to be worth is what the point is worth: the draws that won do not count.

    With them it would believe four points more than there are.
    """
    model = noisy_halfspace(noise=3.0)
    x = images(64)
    y = model.halfspace(x).argmax(1)

    taken, true = believed(Square(queries=30, eot=10), model, x, y, ThreatModel.parse("Linf:0.01"))

    assert taken == pytest.approx(true, abs=0.015)


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
