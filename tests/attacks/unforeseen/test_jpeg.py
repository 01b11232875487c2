import math

import numpy as np
import pytest
import torch
from scipy.fft import idctn

from bench.attacks.unforeseen.jpeg import _LUMA, JPEGL1, JPEGL2, JPEGLinf, count, decode
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


@pytest.fixture
def variables():
    """Normal random numbers for images of a shape."""

    def draw(batch, *shape, dtype=torch.float64):
        return torch.randn(batch, count(*shape), generator=torch.Generator().manual_seed(0), dtype=dtype)

    return draw


@pytest.mark.parametrize(
    ("shape", "coefficients"),
    [((1, 8, 8), 64), ((3, 32, 32), 16 * 64 + 2 * 4 * 64), ((3, 8, 8), 3 * 64), ((1, 9, 7), 128), ((3, 17, 16), 640)],
)
def test_color_has_a_quarter_of_the_coefficients_of_luma_and_blocks_reach_over_the_edge(shape, coefficients):
    """4:2:0: a block of chroma covers 16 x 16 pixels; gray has none; what is no multiple is rounded up."""
    assert count(*shape) == coefficients


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 20, 13), (1, 9, 7), (3, 1, 1)])
def test_zero_variables_are_exactly_the_image(shape):
    """Bit for bit, in color too: nothing is lost to the resolution of the chroma."""
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))

    x_adv = JPEGLinf().render(x, torch.zeros(2, count(*shape)), ())

    assert torch.equal(x_adv, x)


def test_a_dc_coefficient_brightens_its_block_alone():
    """Two halves of the step of 16/255, shared among 64 pixels by the factor 1/8: 2/255 each."""
    latent = torch.zeros(1, count(1, 16, 24))
    latent[0, 64 * 4] = 2  # the second block of the second row of three

    change = decode(latent, 1, 16, 24)

    expected = torch.zeros(1, 1, 16, 24)
    expected[..., 8:, 8:16] = 2 / 255
    assert torch.allclose(change, expected, atol=1e-7)


def test_red_chroma_turns_red_and_leaves_luma():
    """A DC of Cr: 17/255 per step, 1/8 of it per pixel, times JFIF's 1.402 on red; the luma of it is nought."""
    latent = torch.zeros(1, count(3, 16, 16), dtype=torch.float64)
    latent[0, 4 * 64 + 64] = 2

    change = decode(latent, 3, 16, 16)[0]

    assert torch.allclose(change[0], torch.full((16, 16), 1.402 * 17 / 8 / 255, dtype=torch.float64))
    assert change[2].abs().max() == 0
    luma = 0.299 * change[0] + 0.587 * change[1] + 0.114 * change[2]
    assert luma.abs().max() < 1e-7


def test_a_block_is_the_inverse_cosine_transform_of_scipy(variables):
    """The orthonormal one, of coefficients times half their steps; and the first index is the vertical frequency."""
    latent = variables(2, 1, 8, 8)
    steps = np.array(_LUMA)

    pixels = decode(latent, 1, 8, 8)[:, 0]

    expected = idctn(latent.view(2, 8, 8).numpy() * steps / 2 / 255, axes=(1, 2), norm="ortho")
    assert np.allclose(pixels.numpy(), expected, atol=1e-12)
    vertical = torch.zeros(1, 64)
    vertical[0, 8] = 1
    assert decode(vertical, 1, 8, 8)[0, 0].std(1).max() < 1e-6


def test_pixels_go_back_to_the_coefficients(variables):
    """Gray: the transform is orthogonal, so its transpose, found by autograd, undoes it."""
    latent = variables(2, 1, 16, 24).requires_grad_()
    half = torch.tensor(_LUMA, dtype=torch.float64).flatten().repeat(6) / 510

    pixels = decode(latent, 1, 16, 24)
    (back,) = torch.autograd.grad(pixels, latent, pixels.detach())

    assert torch.allclose(back / half.square(), latent.detach(), atol=1e-10)


def test_a_cropped_image_sees_the_same_waves(variables):
    """An image of 20 x 13 is the corner of one of 32 x 16 with the same coefficients."""
    assert count(3, 20, 13) != count(3, 32, 16)  # luma has one row of blocks less
    whole = variables(1, 3, 24, 16)

    small, large = decode(whole, 3, 20, 13), decode(whole, 3, 24, 16)

    assert torch.equal(small, large[:, :, :20, :13])


def test_the_gradient_of_the_variables_is_that_of_the_pixels(variables):
    """Central differences in float64, away from the edges of the box."""
    x = 0.3 + 0.4 * torch.rand(2, 3, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    latent = 0.01 * variables(2, 3, 3, 2)

    exact = torch.autograd.gradcheck(lambda v: JPEGLinf().render(x, v, ()), latent.requires_grad_())

    assert exact


@pytest.mark.parametrize("attack", [JPEGLinf, JPEGL2, JPEGL1], ids=lambda attack: attack.family)
def test_the_bound_is_reached_in_its_norm_and_kept(launch, small_cnn, images, stream, attack):
    """The variables of a proof lie in the ball, most of them on its surface, and none beyond."""
    model, x = small_cnn(), images(4)
    y = model(x).argmax(1)
    eps = 0.05

    _, proof = attack(steps=10).propose(
        Oracle(Defense(model), 4), x, y, ThreatModel.parse(f"{attack.family}:{eps}"), stream=stream(4)
    )

    size = torch.linalg.vector_norm(
        proof.latent.double(), ord={"jpeg-linf": math.inf, "jpeg-l2": 2, "jpeg-l1": 1}[attack.family], dim=1
    )
    assert (size <= eps * (1 + 1e-6)).all()
    assert (size > 0.99 * eps).sum() >= 3


def test_a_step_in_l1_moves_few_coefficients_equally(images):
    """The share of those with the largest gradients, rounded up, each by an equal part of the step."""
    attack = JPEGL1(share=0.04)
    grad = torch.randn(2, 64, generator=torch.Generator().manual_seed(3))

    step = attack._direction(None, grad, 1)

    assert (step != 0).sum(1).tolist() == [3, 3]
    assert torch.allclose(step.abs().sum(1), torch.ones(2))
    assert (grad.abs()[step != 0].view(2, 3).amin(1) >= grad.abs()[step == 0].view(2, -1).amax(1)).all()
    assert (step.sign() == grad.sign())[step != 0].all()


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    """It is a share of the coefficients."""
    with pytest.raises(BenchError, match=f"share={share}"):
        JPEGL1(share=share)
