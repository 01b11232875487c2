import math

import pytest
import torch

from bench.attacks.unforeseen.snow import Snow, snowfall, streaks
from bench.errors import BenchError


@pytest.fixture
def weights():
    """Weights for images of a size, some of them beyond any bound."""

    def draw(batch, height, width, dtype=torch.float64):
        shape = (batch, 7, math.ceil(height / 4), math.ceil(width / 4))
        return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)

    return draw


def test_a_streak_is_a_line_through_the_middle(stream):
    """From 0 to 1, brightest in the middle, the same after half a turn, and no two images' snow alike."""
    streak = streaks(stream(100))

    assert streak.shape == (100, 7, 13, 13)
    assert streak.min() >= 0
    assert streak.max() <= 1
    assert torch.allclose(streak.amax((2, 3)), streak[:, :, 6, 6])
    assert torch.allclose(streak, streak.flip((2, 3)), atol=1e-6)
    assert len({tuple(row.tolist()) for row in streak.flatten(1)}) == 100


def test_all_snow_of_an_image_falls_to_one_side(stream):
    """Down to the right for about half of the images and down to the left for the others."""
    streak = streaks(stream(200))

    right = streak[..., 7:, 7:].sum((2, 3)) > streak[..., 7:, :6].sum((2, 3))
    assert (right.all(1) | (~right).all(1)).all()
    assert 70 < right.all(1).sum() < 130


def test_a_flake_falls_where_its_layer_is():
    """A flake that is one pixel large: four layers are shifted to the right, three downwards, on a grid of 4 x 4."""
    weight = torch.arange(1.0, 8.0).view(1, 7, 1, 1).expand(1, 7, 2, 3)
    point = torch.ones(1, 7, 1, 1)

    snow = snowfall(weight, point, 8, 12)[0, 0]

    cell = torch.zeros(4, 4)
    cell[0] = torch.arange(1.0, 5.0)
    cell[1:, 0] = torch.arange(5.0, 8.0)
    assert torch.equal(snow, cell.repeat(2, 3))


def test_a_flake_looks_like_its_streak():
    """Centered on its place, as bright as its weight, and nothing anywhere else."""
    weight, streak = torch.zeros(1, 7, 8, 8), torch.rand(1, 7, 13, 13, generator=torch.Generator().manual_seed(1))
    weight[0, 5, 2, 3] = 0.5  # two pixels down from the corner of cell (2, 3)

    snow = snowfall(weight, streak, 32, 32)

    expected = torch.zeros(1, 1, 32, 32)
    expected[0, 0, 10 - 6 : 10 + 7, 12 - 6 : 12 + 7] = 0.5 * streak[0, 5]
    assert torch.allclose(snow, expected)


def test_snow_is_cut_at_the_edge_of_the_image():
    """An image of 6 x 9 has 2 x 3 cells; the flakes beyond its edge fall nowhere."""
    weight, point = torch.ones(1, 7, 2, 3), torch.ones(1, 7, 1, 1)

    snow = snowfall(weight, point, 6, 9)

    assert torch.equal(snow, snowfall(weight, point, 8, 12)[..., :6, :9])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 9, 70)])
def test_snow_only_brightens(images, stream, weights, shape):
    """And zero variables are exactly the image."""
    x, attack = images(2, shape), Snow()
    scene = attack.scene(x, stream(2))
    latent = attack.within(weights(2, *shape[1:], dtype=torch.float32), 0.5)

    x_adv, same = attack.render(x, latent, scene), attack.render(x, torch.zeros_like(latent), scene)

    assert (x_adv >= x).all()
    assert x_adv.max() <= 1
    assert (x_adv > x).any()
    assert torch.equal(same, x)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (70, 40)])
def test_the_nearest_weights_within_the_bound_are_found(weights, height, width):
    """Against a quadratic program's conditions: what is inside stays, and every other point within is farther."""
    attack, eps = Snow(), 0.7
    wild = weights(2, height, width)

    near = attack.within(wild, eps)

    assert (near >= 0).all()
    assert (near <= eps).all()
    assert (attack.size(near) <= eps).all()
    assert torch.allclose(attack.within(near, eps), near, atol=1e-6)
    for seed in range(20):
        other = attack.within(torch.randn(wild.shape, generator=torch.Generator().manual_seed(seed)).double(), eps)
        # The angle at the projection is obtuse for every other point of a convex set.
        assert ((wild - near) * (other - near)).sum() <= 1e-4


def test_the_budget_is_counted_by_region_and_layer():
    """One full region of 8 x 8 flakes: five times the budget, so it takes five times the eps."""
    latent = torch.zeros(2, 7, 16, 16)
    latent[0, 3, :8, 8:] = 0.1
    latent[1, 3, 0, 0] = 0.1

    size = Snow(budget=0.2).size(latent)

    assert size.tolist() == pytest.approx([0.5, 0.1])
    assert Snow(budget=1.0).size(latent).tolist() == pytest.approx([0.1, 0.1])


def test_a_negative_weight_is_no_snow():
    """It would darken the image: no eps allows it."""
    latent = torch.zeros(2, 7, 2, 2)
    latent[1, 0, 0, 0] = -1e-3

    size = Snow().size(latent)

    assert size.tolist() == [0.0, math.inf]


def test_the_gradient_of_the_variables_is_that_of_the_pixels(images, stream, weights):
    """Central differences in float64."""
    x, attack = 0.5 * images(2, (1, 5, 6)).double(), Snow()
    scene = attack.scene(x, stream(2))

    exact = torch.autograd.gradcheck(
        lambda v: attack.render(x, v, scene), (0.01 * weights(2, 5, 6).abs()).requires_grad_()
    )

    assert exact


@pytest.mark.parametrize("budget", [0, -0.2, 1.5])
def test_a_budget_that_is_none_is_refused(budget):
    """It is a share of eps."""
    with pytest.raises(BenchError, match=f"budget={budget}"):
        Snow(budget=budget)
