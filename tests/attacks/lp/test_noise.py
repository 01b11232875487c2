"""Uniform noise is the floor: exactly what its draws find, no more and no less."""

import itertools

import pytest
import torch

from bench.attacks.lp.noise import Uniform
from bench.attacks.lp.pgd import PGD
from bench.oracle.geometry import random_in_ball
from bench.threats import ThreatModel

# Each ball at a size where some of the rows below have a draw across the boundary, and some have none.
SIZES = ["Linf:0.04", "L2:0.3", "L1:2"]


@pytest.fixture
def draws(stream):
    """Every point an attack with `count` draws asks about, `[count, B, C, H, W]`."""

    def build(x, threat, count):
        threat = ThreatModel.parse(threat)
        streams = [stream(len(x)).at("draw", draw) for draw in range(count)]
        return torch.stack([random_in_ball(x, each.uniform(*x.shape[1:]), threat) for each in streams])

    return build


@pytest.mark.parametrize("threat", SIZES)
def test_exactly_the_rows_that_one_draw_carries_across_are_broken(launch, halfspace, images, draws, threat):
    """The verdict of the returned point is the verdict of the best of a hundred, found one by one."""
    model, x = halfspace(), images(24)
    y = model(x).argmax(1)

    x_adv, oracle = launch(Uniform(), model, x, y, threat, access="score")

    wrong = torch.stack([model(points).argmax(1) != y for points in draws(x, threat, 100)])
    broken = wrong.any(0)
    assert 3 <= broken.sum() <= 21
    assert torch.equal(model(x_adv).argmax(1) != y, broken)
    first = torch.where(broken, wrong.float().argmax(0) + 1, 100)
    assert torch.equal(oracle.forwards, first)  # a row that one draw has broken is asked no further


def test_where_nothing_breaks_the_point_nearest_to_the_boundary_is_returned(launch, halfspace, images, draws):
    """It is one of the draws, the one with the largest margin."""
    model, x = halfspace(), images(24)
    y = model(x).argmax(1)
    far = model.distance(x, y, "Linf") > 0.01
    x, y = x[far], y[far]

    x_adv, _ = launch(Uniform(n_draws=30), model, x, y, "Linf:0.01", access="score")

    points = draws(x, "Linf:0.01", 30)
    logits = torch.stack([model(each) for each in points])
    gap = logits[..., 0] - logits[..., 1]
    best = torch.where(y == 1, gap, -gap).argmax(0)
    assert len(x) >= 4
    assert torch.equal(x_adv, points[best, torch.arange(len(x))])


def test_more_draws_are_never_weaker(launch, halfspace, images):
    """Streams are nested: what ten draws break, thirty and a hundred break, too."""
    model, x = halfspace(), images(48)
    y = model(x).argmax(1)

    broken = [
        model(launch(Uniform(n_draws=count), model, x, y, "Linf:0.04", access="score")[0]).argmax(1) != y
        for count in (3, 10, 30, 100)
    ]

    counts = [int(each.sum()) for each in broken]
    assert all((less <= more).all() for less, more in itertools.pairwise(broken))
    assert counts[0] < counts[1] < counts[3]


def test_a_huge_ball_leaves_little(launch, robust_digits):
    """Noise over the whole box takes nearly every digit with it."""
    model, x, y = robust_digits

    x_adv, _ = launch(Uniform(), model, x, y, "Linf:1", access="score")

    assert (model(x_adv).argmax(1) != y).float().mean() > 0.9


@pytest.mark.parametrize("threat", ["Linf:0.12", "L2:0.6"])
def test_noise_never_beats_pgd(launch, robust_digits, threat):
    """The floor: on a network trained adversarially, what noise breaks the gradient breaks, and more."""
    model, x, y = robust_digits

    noise, _ = launch(Uniform(), model, x, y, threat, access="score")
    pgd, _ = launch(PGD(steps=20), model, x, y, threat)

    by_noise, by_pgd = model(noise).argmax(1) != y, model(pgd).argmax(1) != y
    assert (by_noise <= by_pgd).all()
    assert by_pgd.sum() > by_noise.sum()


def test_a_tie_is_judged_as_the_harness_does(launch, images):
    """Equal logits read as the first class: right for label 0, wrong for label 1."""

    class Tie(torch.nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3)

    _, oracle = launch(Uniform(n_draws=20), Tie(), images(2), torch.tensor([0, 1]), "Linf:0.1", access="score")

    assert oracle.forwards.tolist() == [20, 1]


def test_an_answer_that_is_not_finite_wins_the_point(launch, images):
    """It is wrong, whatever the margin of the true class over the next: that point and no other is returned."""

    class Overflow(torch.nn.Module):
        def forward(self, x):
            first = x[:, 0, 0, 0]
            logits = torch.stack([1 + first, torch.zeros_like(first), torch.zeros_like(first)], 1)
            return torch.where((first > 0.55)[:, None], torch.tensor([9.0, 0.0, -torch.inf]), logits)

    x = images(8).clamp(max=0.5)

    x_adv, _ = launch(Uniform(), Overflow(), x, torch.zeros(8, dtype=torch.int64), "Linf:0.2", access="score")

    assert (x_adv[:, 0, 0, 0] > 0.55).all()


def test_finalists_are_told_from_lucky_ones_by_fresh_draws(launch, noisy_halfspace, images):
    """Noise of three times the spread of the margins: the largest single answer is mostly luck.

    Meeting the best few again with twenty draws finds points of higher error rate, known exactly.
    """
    model, x = noisy_halfspace(noise=3.0), images(48)
    y = model.halfspace(x).argmax(1)

    lucky, _ = launch(Uniform(finalists=1), model, x, y, "Linf:0.1", stochastic=True, access="score")
    met_again, oracle = launch(Uniform(finalists=10, eot=40), model, x, y, "Linf:0.1", stochastic=True, access="score")

    rates = [model.error_rate(points, y).mean().item() for points in (x, lucky, met_again)]
    assert rates[0] + 0.03 < rates[1] < rates[2] - 0.03
    assert (oracle.forwards == 100 + 10 * 40).all()
