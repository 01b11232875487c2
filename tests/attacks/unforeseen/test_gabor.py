import math

import pytest
import torch

from bench.attacks.unforeseen.gabor import Gabor, kernels, noise
from bench.errors import BenchError


@pytest.fixture
def scene(images, stream):
    """Images of a shape, their places and kernels, and weights between -0.3 and 0.3."""

    def build(shape=(3, 12, 9), n=3):
        x = images(n, shape)
        places, kernel = Gabor().scene(x, stream(n))
        weights = 0.6 * torch.rand(n, places.shape[1], generator=torch.Generator().manual_seed(0)) - 0.3
        return x, (places, kernel), weights

    return build


def test_places_are_all_different_and_as_many_as_asked_for(images, stream):
    """A tenth of 12 x 9 pixels, rounded up, other ones for every image."""
    places, _ = Gabor(density=0.1).scene(images(3, (1, 12, 9)), stream(3))

    assert places.shape == (3, 11)
    assert all(len(set(row)) == 11 and min(row) >= 0 and max(row) < 108 for row in places.tolist())
    assert len({tuple(sorted(row)) for row in places.tolist()}) == 3


def test_a_kernel_is_waves_under_a_gaussian(stream):
    """At its middle all waves are at their crest; half a turn around it leaves it as it is; the rim is faint."""
    kernel = kernels(stream(200))

    waves = kernel[:, 11, 11]
    assert torch.allclose(waves, waves.round(), atol=1e-5)
    assert set(waves.round().int().tolist()) == set(range(1, 11))
    assert torch.allclose(kernel, kernel.flip((1, 2)), atol=1e-4)
    rim = torch.exp(torch.tensor(-0.25 / (0.101 + 0.3) ** 2))
    assert (kernel[:, 0, 0].abs() / waves <= rim + 1e-4).all()


def test_a_kernel_of_one_wave_has_the_period_it_should(stream):
    """3 to 5.75 periods over the side: a quarter of a period from the middle, the wave is nought and has turned."""
    kernel = kernels(stream(400))
    single = kernel[kernel[:, 11, 11].round() == 1]

    spectrum = torch.fft.fft2(single, (256, 256)).abs().flatten(1)
    peak = spectrum.argmax(1)
    down, right = ((index + 128) % 256 - 128 for index in (peak // 256, peak % 256))
    periods = torch.hypot(down.double(), right.double()) / 256 * 22  # the side is 22 steps long

    assert len(single) > 20
    assert periods.min() > 2.5
    assert periods.max() < 6.0
    assert periods.max() - periods.min() > 1.5


def test_noise_is_the_leveled_sum_of_the_kernels():
    """One kernel on a wide image: its own shape, less its mean, over its deviation, through the hyperbolic tangent."""
    kernel = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.5, 0.0]]], dtype=torch.float64)

    made = noise(torch.tensor([[1.5]], dtype=torch.float64), torch.tensor([[7]]), kernel, 4, 5)

    sums = torch.zeros(4, 5, dtype=torch.float64)
    sums[:3, 2] = 1.5 * kernel[0, [2, 1, 0], 1]  # a correlation, as in convolutional networks
    level = (sums - sums.mean()) / sums.std(correction=0)
    assert torch.allclose(made[0], (1 + torch.tanh(4 * level)) / 2)


def test_the_scale_of_the_weights_makes_no_difference_to_the_noise(scene):
    """They are free to carry its weight."""
    _, (places, kernel), weights = scene()

    first, second = (noise(scale * weights, places, kernel, 12, 9) for scale in (1, 1e-3))

    assert torch.allclose(first, second, atol=1e-4)
    assert first.min() >= 0
    assert first.max() <= 1
    assert first.std() > 0.4  # nearly two-valued


def test_zero_variables_are_exactly_the_image(scene):
    """Bit for bit, and with a finite gradient."""
    x, drawn, weights = scene()
    latent = torch.zeros_like(weights).requires_grad_()

    x_adv = Gabor().render(x, latent, drawn)
    (grad,) = torch.autograd.grad(x_adv.sum(), latent)

    assert torch.equal(x_adv, x)
    assert grad.isfinite().all()


def test_no_value_changes_by_more_than_the_largest_weight(scene):
    """Upwards only, by the same on all channels, and nearly that much somewhere."""
    x, drawn, weights = scene()
    x = 0.5 * x

    change = Gabor().render(x, weights, drawn) - x

    largest = weights.abs().amax(1)
    assert (change.amin((1, 2, 3)) > -1e-6).all()
    assert (change.amax((1, 2, 3)) <= largest + 1e-6).all()
    assert (change.amax((1, 2, 3)) > 0.9 * largest).all()
    assert torch.allclose(change[:, 0], change[:, 2], atol=1e-6)


def test_the_gradient_of_the_variables_is_that_of_the_pixels(scene):
    """Central differences in float64; the weight and the level of the noise move with the weights."""
    x, drawn, weights = scene((1, 5, 4), 2)
    x = 0.1 + 0.4 * x.double()

    exact = torch.autograd.gradcheck(lambda v: Gabor().render(x, v, drawn), weights.double().requires_grad_())

    assert exact


@pytest.mark.parametrize("density", [0, -1, 1.1, math.nan])
def test_a_density_that_is_none_is_refused(density):
    """It is kernels per pixel."""
    with pytest.raises(BenchError, match="density="):
        Gabor(density=density)
