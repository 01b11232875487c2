import pytest
import torch

from bench.attacks.unforeseen.fog import Fog, plasma, side, texture
from bench.errors import BenchError


@pytest.fixture
def draws():
    """Draws for images of a size."""

    def draw(batch, height, width, dtype=torch.float64):
        n = side(height, width) ** 2 - 1
        return 2 * torch.rand(batch, n, generator=torch.Generator().manual_seed(0), dtype=dtype) - 1

    return draw


@pytest.mark.parametrize(("height", "width", "expected"), [(8, 8, 16), (32, 32, 64), (224, 224, 256), (5, 40, 64)])
def test_the_cloud_is_larger_than_the_image(height, width, expected):
    """A power of two, at most twice as long: 64 for 32 pixels and 256 for 224, as published."""
    assert side(height, width) == expected


def test_the_first_level_is_known():
    """n = 2: one corner at nought, the middle at its draw, each side at the mean of its neighbors plus its draw."""
    cloud = plasma(torch.tensor([[0.8, 0.1, -0.2]], dtype=torch.float64), 2.0)

    expected = torch.tensor([[[0.0, 0.4 + 0.1], [0.4 - 0.2, 0.8]]], dtype=torch.float64)
    assert torch.allclose(cloud, expected)


def test_the_third_level_counts_a_quarter():
    """n = 8, one draw: it raises its own point by draw / decay^2, and its four neighbors by a quarter of that."""
    draws = torch.zeros(1, 63, dtype=torch.float64)
    draws[0, 15] = 1  # the middle of the first square

    cloud = plasma(draws, 2.0)

    assert cloud[0, 1, 1] == 1 / 4
    assert [cloud[0, 0, 1], cloud[0, 1, 0], cloud[0, 2, 1], cloud[0, 1, 2]] == [1 / 16] * 4
    assert cloud.abs().sum() == 1 / 2


def test_a_lower_decay_is_finer(draws):
    """The differences between neighbors grow against the whole."""
    fine, coarse = (plasma(draws(1, 30, 30), decay) for decay in (1.3, 3.0))

    roughness = [float(cloud.diff(dim=1).square().mean() / cloud.var()) for cloud in (fine, coarse)]
    assert roughness[0] > 3 * roughness[1]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 20), (32, 32)])
def test_the_texture_fills_the_range_from_nought_to_one(draws, height, width):
    """Of every image by itself, whatever the scale of its draws."""
    scales = torch.tensor([[1.0], [1e-3], [7.0]], dtype=torch.float64)

    fog = texture(draws(1, height, width) * scales, height, width, 2.0)

    assert fog.shape == (3, height, width)
    assert fog.amin((1, 2)).tolist() == [0.0] * 3
    assert torch.allclose(fog.amax((1, 2)), torch.ones(3, dtype=torch.float64))
    assert torch.allclose(fog[0], fog[1], atol=1e-9)
    assert torch.allclose(fog[0], fog[2], atol=1e-9)


def test_the_texture_is_the_middle_of_the_cloud(draws):
    """Cut out, then stretched."""
    cloud = plasma(draws(2, 10, 6), 2.0)[:, 3:13, 5:11]

    fog = texture(draws(2, 10, 6), 10, 6, 2.0)

    low, high = cloud.amin((1, 2), keepdim=True), cloud.amax((1, 2), keepdim=True)
    assert torch.allclose(fog, (cloud - low) / (high - low))


def test_zero_variables_are_exactly_the_image(images):
    """Bit for bit, and with a finite gradient."""
    x, latent = images(2, (3, 9, 20)), torch.zeros(2, side(9, 20) ** 2 - 1, requires_grad=True)

    x_adv = Fog().render(x, latent, ())
    (grad,) = torch.autograd.grad(x_adv.sum(), latent)

    assert torch.equal(x_adv, x)
    assert grad.isfinite().all()


def test_the_weight_is_the_largest_draw(draws, images):
    """Where the fog is densest a pixel is (x + weight) / (1 + weight), where there is none x / (1 + weight)."""
    x, latent = images(2, (1, 8, 8)).double(), 0.4 * draws(2, 8, 8)
    weight = latent.abs().amax(1).view(2, 1, 1, 1)
    fog = texture(latent, 8, 8, 2.0)[:, None]

    x_adv = Fog().render(x, latent, ())

    assert torch.allclose(x_adv[fog == 1], ((x + weight) / (1 + weight))[fog == 1])
    assert torch.allclose(x_adv[fog == 0], (x / (1 + weight))[fog == 0])
    assert (fog == 0).sum() == 2


def test_the_gradient_of_the_variables_is_that_of_the_pixels(draws):
    """Central differences in float64; the weight and the range of the texture move with the draws."""
    x = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    exact = torch.autograd.gradcheck(lambda v: Fog().render(x, v, ()), (0.3 * draws(2, 3, 3)).requires_grad_())

    assert exact


@pytest.mark.parametrize("decay", [0.5, float("nan"), 1000.0])
def test_a_decay_out_of_range_is_refused(decay):
    """Below one the finest draws would count most."""
    with pytest.raises(BenchError, match="decay="):
        Fog(decay=decay)
