import pytest
import torch

from bench.attacks.unforeseen import stadv
from bench.attacks.unforeseen.elastic import Elastic, smooth
from bench.errors import BenchError


@pytest.fixture
def flow():
    return 2 * torch.rand(2, 12, 9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1


@pytest.mark.parametrize("std", [0.1, 0.43, 3.0])
def test_smoothing_keeps_a_constant_flow(std):
    """The weights of the Gaussian sum to one, at the edges too."""
    constant = torch.tensor([0.7, -0.3]).expand(2, 12, 9, 2)

    smoothed = smooth(constant, std)

    assert torch.allclose(smoothed, constant, atol=1e-6)


def test_a_flow_at_one_pixel_spreads_as_a_gaussian():
    """The ratio of neighbors is exp(-(1 - 0) / (2 std^2)) along either axis; the other component stays zero."""
    point = torch.zeros(1, 11, 11, 2)
    point[0, 5, 5, 0] = 1

    smoothed = smooth(point, 0.8)

    ratio = torch.tensor(-0.5 / 0.8**2).exp()
    assert smoothed[0, 5, 6, 0] / smoothed[0, 5, 5, 0] == pytest.approx(ratio.item(), rel=1e-5)
    assert smoothed[0, 7, 5, 0] / smoothed[0, 5, 5, 0] == pytest.approx(ratio.item() ** 4, rel=1e-5)
    assert smoothed[..., 1].abs().max() == 0
    assert smoothed.sum() == pytest.approx(1, abs=1e-5)


def test_smoothing_makes_no_vector_longer(flow):
    """So eps bounds how far a pixel moves along either axis, too."""
    smoothed = smooth(flow, 1.0)

    assert smoothed.abs().max() < 0.8 * flow.abs().max()


@pytest.mark.parametrize(("side", "std"), [(8, 3 * 32 / 224), (32, 3 * 32 / 224), (224, 3.0)])
def test_the_gaussian_grows_with_the_image(side, std):
    """3 pixels for 224 and 0.43 for 32, as published; smaller images get no less than that."""
    x = torch.rand(1, 1, side, side + 3, generator=torch.Generator().manual_seed(1))
    flow = 2 * torch.rand(1, side, side + 3, 2, generator=torch.Generator().manual_seed(2)) - 1

    x_adv = Elastic().render(x, flow, ())

    assert torch.equal(x_adv, stadv.render(x, smooth(flow, std)))


def test_zero_variables_are_exactly_the_image(images):
    """Bit for bit."""
    x = images(2, (3, 9, 7))

    x_adv = Elastic().render(x, torch.zeros(2, 9, 7, 2), ())

    assert torch.equal(x_adv, x)


def test_a_constant_flow_shifts_the_image(images):
    """By one pixel to the left, with the edge repeated."""
    x = images(2, (3, 9, 7))
    flow = torch.tensor([0.0, 1.0]).expand(2, 9, 7, 2)

    x_adv = Elastic(std=0.2).render(x, flow, ())

    assert torch.allclose(x_adv[..., :-1], x[..., 1:], atol=1e-5)


def test_the_gradient_of_the_variables_is_that_of_the_pixels(flow):
    """Central differences in float64."""
    x = torch.rand(2, 1, 6, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    exact = torch.autograd.gradcheck(lambda v: Elastic().render(x, v, ()), (0.3 * flow[:, :6, :4]).requires_grad_())

    assert exact


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_a_gaussian_without_a_width_is_refused(std):
    """Zero means: by the size of the image."""
    with pytest.raises(BenchError, match="std="):
        Elastic(std=std)
