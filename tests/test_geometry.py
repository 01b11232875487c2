"""Projection, distance and steepest direction against their definitions."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.geometry import distance, norm, project, random_in_ball, steepest
from bench.types import ThreatModel

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
