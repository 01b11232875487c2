"""sigma-zero: its count of pixels, and the fewest that break a linear model."""

import math

import pytest
import torch

from bench.attacks.minimum_norm.sigma_zero import SigmaZero, count, count_slope
from bench.checks.contracts.models import Steady
from bench.errors import BenchError
from bench.oracle.answers import margin
from bench.oracle.geometry import norm
from bench.oracle.oracle import Oracle
from bench.types import Defense


def test_the_slope_is_that_of_the_count():
    delta = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()

    (expected,) = torch.autograd.grad(count(delta, 0.1).sum(), delta)

    assert torch.allclose(count_slope(delta.detach(), 0.1), expected)


def test_the_count_of_large_changes_is_the_number_of_pixels():
    delta = torch.zeros(2, 3, 4, 4)
    delta[0, 1, :2] = 0.5
    delta[1, :, 0, 0] = -1

    assert torch.allclose(16 * count(delta, 1e-9), norm(delta, "L0"), atol=1e-4)


def test_on_a_linear_model_it_finds_nearly_the_fewest_pixels(halfspace, images, stream):
    """The fewest are those of largest gain, moved to the edge, until the margin is gone."""
    model, x = halfspace(shape=(3, 8, 8)), images(32, (3, 8, 8)).sub(0.4).mul(5)
    y = model(x).argmax(1)
    slope = (model.weight[1 - y] - model.weight[y]).view_as(x)
    gain = torch.maximum(slope * (1 - x), -slope * x).sum(1).flatten(1).sort(dim=1, descending=True).values
    fewest = ((margin(model(x), y)[:, None] + gain.cumsum(1)) <= 0).sum(1) + 1

    x_adv, away = SigmaZero().nearest(Oracle(Defense(model), 32), x, y, "L0", stream=stream(32))

    assert (model(x_adv).argmax(1) != y).all()
    assert torch.equal(away, norm((x_adv - x).double(), "L0"))
    assert (away >= fewest).all()
    assert (away - fewest).mean() < 1
    assert fewest.max() > 2


def test_the_threshold_follows_the_prediction(robust_digits, stream):
    """It rises by a hundredth of the step where a point is wrong, and falls where it is right: every image breaks, and
    no changed pixel of a queried point has moved less than the least that the threshold can be by then."""
    model, x, y = robust_digits
    asked = []
    watched = torch.nn.Sequential(model)
    watched.register_forward_hook(lambda _, inputs, __: asked.append(inputs[0].detach().clone()))

    _, away = SigmaZero(steps=100, threshold=0.3).nearest(Oracle(Defense(watched), 32), x, y, "L0", stream=stream(32))

    wrong = torch.stack([model(point).argmax(1) != y for point in asked])
    threshold = torch.full((32,), 0.3)
    for step in range(100):
        rate = 0.1 + 0.9 * (1 + math.cos(math.pi * step / 100)) / 2
        threshold = (threshold + torch.where(wrong[step], 0.01, -0.01) * rate).clamp(0, 1)
        moved = (asked[step + 1] - x).abs().amax(1).flatten(1)
        assert (moved.masked_fill(moved == 0, 1).amin(1) >= threshold - 1e-5).all()
    assert away.isfinite().all()
    assert away.mean() < 2.6


def test_where_nothing_breaks_the_threshold_falls_until_every_pixel_may_move(robust_digits, stream):
    model, x, y = robust_digits
    asked = []
    steady = torch.nn.Sequential(Steady(model))
    steady.register_forward_hook(lambda _, inputs, __: asked.append(inputs[0].detach().clone()))

    SigmaZero(steps=100).nearest(Oracle(Defense(steady), 4), x[:4], torch.zeros_like(y[:4]), "L0", stream=stream(4))

    moved = (asked[-1] - x[:4]).abs().amax(1).flatten(1)
    assert (moved.masked_fill(moved == 0, 1).amin(1) < 0.1).all()
    assert ((asked[-1] != x[:4]).flatten(1).sum(1) > 32).all()


def test_parameters_that_make_no_attack_are_named():
    for wrong in ({"steps": 0}, {"step_size": 0.0}, {"sigma": 0.0}, {"threshold": 1.5}):
        with pytest.raises(BenchError, match=next(iter(wrong))):
            SigmaZero(**wrong)
