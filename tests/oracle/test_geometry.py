"""Projection, distance and steepest direction against their definitions."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from bench.oracle.geometry import distance, fill, keep_pixels, norm, project, random_in_ball, steepest
from bench.threats import ThreatModel

NORMS = {"Linf": torch.inf, "L2": 2, "L1": 1}


def images(seed: int, rows: int = 16) -> torch.Tensor:
    return torch.rand(rows, 2, 3, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", NORMS)
def test_norm_is_torchs_vector_norm(family):
    delta = images(0) - images(1)

    expected = torch.linalg.vector_norm(delta.flatten(1), NORMS[family], dim=1)

    assert torch.allclose(norm(delta, family), expected)


@pytest.mark.parametrize("family", NORMS)
@given(seed=st.integers(0, 10_000), eps=st.sampled_from(["8/255", "0.3", "1", "0.001"]), reach=st.floats(0.1, 5))
@settings(max_examples=60, deadline=None)
def test_project_ends_in_the_ball_and_in_the_box(family, seed, eps, reach):
    threat = ThreatModel(family, Fraction(eps))
    x, far = images(seed), images(seed + 1) * 2 * reach - reach

    x_adv = project(far, x, threat)

    slack = 1e-6 if family == "Linf" else float(threat.eps) * 1e-5
    assert float(distance(x_adv, x, family).max()) <= float(threat.eps) + slack
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1


@pytest.mark.parametrize("family", NORMS)
def test_project_leaves_points_inside_where_they_are(family):
    threat = ThreatModel(family, Fraction(10))
    x, x_adv = images(0), images(1)
    if family == "Linf":
        threat = ThreatModel(family, Fraction(1))

    assert torch.allclose(project(x_adv, x, threat), x_adv, atol=1e-6)


def test_project_onto_l1_is_the_same_beside_rows_with_more_entries():
    """Entries that are zero are left out of the sort, as many as in the fullest row of the batch."""
    threat = ThreatModel("L1", Fraction(1, 2))
    x, far = images(0), images(1) * 4 - 2
    far[0] = x[0]
    far[0, 0, 1] = torch.tensor([0.9, -0.7, 0.2])

    together = project(far, x, threat)

    assert torch.equal(together, torch.cat([project(far[k : k + 1], x[k : k + 1], threat) for k in range(len(x))]))
    assert torch.equal(together[0, 1], x[0, 1])


def test_project_onto_l1_is_nearer_than_any_other_point_of_the_ball():
    """The projection's defining property: the residual makes no acute angle with the ball."""
    threat = ThreatModel("L1", Fraction(1, 2))
    x = torch.full((1, 1, 3, 3), 0.5)
    far = x + 0.4 * (images(3, 1)[:, :1] - 0.5)

    nearest = project(far, x, threat)

    others = torch.randn(2000, 9, generator=torch.Generator().manual_seed(0))
    others = x + (0.5 * others / others.abs().sum(1, keepdim=True)).view(-1, 1, 3, 3)
    own = (far - nearest).square().sum()
    assert float(own) <= float((far - others).flatten(1).square().sum(1).min()) + 1e-6


@pytest.mark.parametrize("family", NORMS)
def test_steepest_gains_the_dual_norm_of_the_gradient(family):
    grad = images(5) - 0.5

    direction = steepest(grad, family)

    dual = {"Linf": 1, "L2": 2, "L1": torch.inf}[family]
    gain = (direction * grad).flatten(1).sum(1)
    assert torch.allclose(gain, torch.linalg.vector_norm(grad.flatten(1), dual, dim=1), atol=1e-5)
    assert torch.allclose(norm(direction, family), torch.ones(len(grad)))


@pytest.mark.parametrize("family", NORMS)
def test_a_random_start_is_in_the_ball_and_differs_between_rows(family):
    threat = ThreatModel(family, Fraction("0.3"))
    x = torch.full((64, 1, 4, 4), 0.5)

    start = random_in_ball(x, torch.rand(x.shape, generator=torch.Generator().manual_seed(0)), threat)

    far = distance(start, x, family)
    assert float(far.max()) <= 0.3 + 1e-6
    assert len({round(value, 6) for value in far.tolist()}) > 32


def farthest(slope, x, eps):
    """The point of the L1 ball around `x` and the box where `slope` is greatest, by linear programming."""
    size = len(slope)
    split = np.ones((1, 2 * size))  # what goes up, and what goes down
    room = np.concatenate([1 - x, x])
    best = linprog(-np.concatenate([slope, -slope]), A_ub=split, b_ub=[eps], bounds=[(0, r) for r in room])
    return x + best.x[:size] - best.x[size:]


@pytest.mark.parametrize("eps", ["0.01", "0.4", "1.5", "4"])
def test_the_l1_projection_is_the_nearest_point_of_ball_and_box_together(eps):
    """No point of both lies beyond the plane through the projection: an optimizer finds none."""
    threat = ThreatModel("L1", Fraction(eps))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(12, 1, 1, 6, generator=generator).mul(1.6).sub(0.3).clamp(0, 1)  # many on the edge of the box
    far = x + 1.5 * torch.randn(x.shape, generator=generator)

    near = project(far, x, threat)

    for point, target, center in zip(*(images.flatten(1).double().numpy() for images in (near, far, x)), strict=True):
        away = target - point
        beyond = away @ (farthest(away, center, float(threat.eps)) - point)
        assert beyond <= 2e-5 * max(1, np.abs(away).sum())
    assert float(distance(near, x, "L1").max()) <= float(threat.eps)


def test_the_l1_projection_spends_what_the_box_leaves_unused():
    """Pushed far out of the box at one pixel, a little at another: the rest of the budget goes there."""
    x = torch.tensor([[0.9, 0.5, 0.5]]).view(1, 1, 1, 3)
    far = torch.tensor([[5.0, 1.0, 0.5]]).view(1, 1, 1, 3)

    near = project(far, x, ThreatModel.parse("L1:0.4"))

    assert torch.allclose(near.flatten(), torch.tensor([1.0, 0.8, 0.5]), atol=1e-5)


def test_the_l1_projection_keeps_to_the_ball_for_large_images():
    """150,528 pixels, every one rounded to float32: the distance in float64 is still below eps."""
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    far = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    for eps in ("0.3", "12", "255", "20000"):
        reach = distance(project(far, x, ThreatModel.parse(f"L1:{eps}")), x, "L1")

        assert float(reach.max()) <= float(eps)
        assert float(reach.min()) >= 0.98 * float(eps)


@pytest.mark.parametrize("length", [0.05, 0.7, 2, 10])
def test_fill_is_the_best_step_for_a_linear_loss(length):
    """As good as what linear programming finds: the strongest pixels go to the edge of the box, in turn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(12, 1, 1, 6, generator=generator).mul(1.6).sub(0.3).clamp(0, 1)
    grad = torch.randn(x.shape, generator=generator)

    step = fill(grad, x, length)

    assert float((x + step).min()) >= 0
    assert float((x + step).max()) <= 1
    assert float(norm(step, "L1").max()) <= length + 1e-5
    for slope, center, move in zip(*(part.flatten(1).double().numpy() for part in (grad, x, step)), strict=True):
        best = slope @ (farthest(slope, center, length) - center)
        assert slope @ move == pytest.approx(best, abs=1e-5)


def test_fill_spends_nothing_on_pixels_without_a_gradient():
    """Zero and not-a-number say nothing about where to go."""
    grad = torch.tensor([[0.0, torch.nan, 2.0, torch.inf]]).view(1, 1, 2, 2)

    step = fill(grad, torch.full((1, 1, 2, 2), 0.5), 3)

    assert step.flatten().tolist() == [0, 0, 0.5, 0]


def test_l0_counts_pixels_and_not_values():
    """Both channels of one pixel, one channel of another; zeros of either sign and a NaN."""
    delta = torch.zeros(2, 2, 3, 3)
    delta[0, :, 0, 0] = 1
    delta[0, 1, 2, 2] = -1e-30
    delta[1, 0, 1, 1] = -0.0
    delta[1, 0, 1, 2] = torch.nan

    assert norm(delta, "L0").tolist() == [2, 1]
    assert distance(delta, torch.zeros_like(delta), "L0").dtype == torch.float64


@pytest.mark.parametrize("count", [1, 2, 5, 9, 12])
def test_the_l0_projection_is_the_nearest_of_all_choices_of_pixels(count):
    """Against every subset of 9 pixels; those left out are the image's own bit by bit."""
    x = images(0, 8).mul(1.4).sub(0.2).clamp(0, 1)
    far = images(1, 8) * 4 - 1.5

    near = project(far, x, ThreatModel("L0", Fraction(count)))

    box = far.clamp(0, 1)
    kept = torch.tensor([[place in some for place in range(9)] for some in combinations(range(9), min(count, 9))])
    choices = torch.where(kept.view(-1, 1, 1, 3, 3), box, x)
    least = (choices - far).square().flatten(2).sum(2).amin(0)
    assert torch.allclose((near - far).square().flatten(1).sum(1), least, rtol=1e-5)
    assert norm(near - x, "L0").max() <= count
    assert ((near == x) | (near == box)).all()


def test_of_equal_pixels_the_first_are_kept():
    x, x_adv = torch.zeros(1, 1, 2, 3), torch.ones(1, 1, 2, 3)

    kept = keep_pixels(x_adv, x, torch.zeros(1, 2, 3), 4)

    assert kept.flatten().tolist() == [1, 1, 1, 1, 0, 0]
