"""Projections onto a hyperplane within the box: against general solvers."""

import pytest
import torch

from bench.attacks.minimum_norm.hyperplane import normalize, onto_hyperplane, reach
from bench.oracle.geometry import norm
from tests.attacks.minimum_norm.solver import SIZE, solve

FAMILIES = ["Linf", "L2", "L1"]


@pytest.fixture
def planes():
    """Points and planes of all kinds: through the box, beside it, with zeros in the normal, at an edge."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, SIZE, generator=generator)
    x[::4, :3] = torch.tensor([0.0, 1.0, 1.0])
    normal = torch.randn(40, SIZE, generator=generator) * 10 ** torch.randn(40, 1, generator=generator)
    normal[::5, 2:4] = 0
    gap = norm(normal, "L1") * torch.randn(40, generator=generator)
    gap[::3] /= 10
    gap[7] = 0
    return x, *normalize(gap, normal)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_projection_is_as_short_as_a_general_solver_finds(planes, family):
    """It lies on the plane and in the box; beside the box it is the corner nearest to the plane."""
    x, gap, normal = planes
    expected = [solve(*(part.double().numpy() for part in plane), family) for plane in zip(*planes, strict=True)]

    delta = onto_hyperplane(x, gap, normal, family)

    meets = torch.tensor([length is not None for length in expected])
    assert 10 <= meets.sum() <= 30
    assert (x + delta).min() >= -1e-6
    assert (x + delta).max() <= 1 + 1e-6
    assert (gap + (normal * delta).sum(1))[meets].abs().max() < 1e-5
    lengths = torch.tensor([length for length in expected if length is not None], dtype=x.dtype)
    assert torch.allclose(norm(delta[meets], family), lengths, rtol=1e-4, atol=1e-5)
    corner = torch.where(-gap[:, None] * normal > 0, 1 - x, -x) * (normal != 0)
    assert torch.allclose(delta[~meets], corner[~meets], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_projection_does_not_depend_on_the_batch(planes, family):
    """However many rounds the other rows take."""
    x, gap, normal = planes

    whole = onto_hyperplane(x, gap, normal, family)
    apart = [onto_hyperplane(x[[i]], gap[[i]], normal[[i]], family) for i in range(len(x))]

    assert torch.equal(torch.cat(apart), whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_distance_to_a_plane_is_that_of_the_projection_without_a_box(family):
    """By the dual norm, however small the gradient; a plane without a direction is out of reach."""
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(5, SIZE, generator=generator)
    gap = 0.01 * torch.randn(5, generator=generator)
    normal[4] = 0
    middle = torch.full_like(normal, 0.5)

    away = reach(*normalize(gap * 1e-23, normal * 1e-23), family)

    expected = norm(onto_hyperplane(middle, *normalize(gap, normal), family), family)
    assert torch.allclose(away[:4], expected[:4], rtol=1e-4)
    assert away[4] == torch.inf


def test_numbers_that_are_none_move_nothing():
    """A gradient that is not a number has no direction; neither has a logit."""
    normal = torch.tensor([[torch.nan, torch.inf, 1.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    gap = torch.tensor([0.1, torch.nan, torch.inf])

    for family in FAMILIES:
        delta = onto_hyperplane(torch.full((3, 3), 0.5), *normalize(gap, normal), family)

        assert torch.allclose(delta[0], torch.tensor([0, 0, -0.1]))
        assert (delta[1:] == 0).all()
