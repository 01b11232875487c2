"""What RT1, RT2 and RT3 promise: their share, their independence, their gradient, their seed."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.transforms import TRANSFORMS, random_transform
from bench.errors import BenchError

MOVING = ("1", "2", "3")
SIZES = [(1, 8, 8), (3, 32, 32)]


@pytest.mark.parametrize("shape", SIZES, ids=["digits", "cifar"])
@pytest.mark.parametrize("rt", MOVING)
def test_every_mask_covers_exactly_a_quarter_of_every_image(rt, shape):
    """The missing rate holds per example and per mask, not on average."""
    x = torch.rand(16, *shape)

    masks = TRANSFORMS[rt](x).masks

    assert masks.shape == (4 if rt == "3" else 1, 16, 1, *shape[1:])
    assert torch.equal(masks.flatten(2).mean(2), torch.full(masks.shape[:2], 0.25))
    assert set(masks.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("rt", MOVING)
def test_every_example_has_a_mask_of_its_own(rt):
    """No mask is shared in a batch: the answer for one image must not depend on its neighbors."""
    masks = TRANSFORMS[rt](torch.rand(32, 1, 8, 8)).masks

    assert len(masks[0].flatten(1).unique(dim=0)) == 32


def test_masks_consist_of_whole_blocks_on_larger_images():
    """On 32x32 images the 8x8 grid has blocks of 4x4 pixels, each covered or not as a whole."""
    masks = TRANSFORMS["1"](torch.rand(4, 3, 32, 32)).masks[0]

    share = masks.view(4, 8, 4, 8, 4).mean((2, 4))

    assert set(share.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("shape", SIZES, ids=["digits", "cifar"])
def test_the_masks_of_rt3_cover_every_pixel_exactly_once(shape):
    """Four masks of a quarter that do not overlap are the whole image."""
    masks = TRANSFORMS["3"](torch.rand(8, *shape)).masks

    assert torch.equal(masks.sum(0), torch.ones(8, 1, *shape[1:]))


@pytest.mark.parametrize("rt", TRANSFORMS)
def test_the_image_stays_in_the_box_and_the_gradient_passes(rt):
    """Noise is clipped to [0, 1], and an adaptive attack can differentiate through the transform."""
    x = (0.25 + 0.5 * torch.rand(8, 1, 8, 8)).requires_grad_()

    image, masks = TRANSFORMS[rt](x)
    (image * (1 - masks[0])).sum().backward()

    assert image.detach().min() >= 0
    assert image.detach().max() <= 1
    reached = x.grad != 0
    if rt in ("none", "1"):
        assert torch.equal(reached, masks[0] == 0)
    else:  # noise pushes some pixels out of the box, where the clip ends the gradient
        assert reached.sum() > 0.5 * (masks[0] == 0).sum()
        assert not (reached & (masks[0] == 1)).any()


@pytest.mark.parametrize(("rt", "deviation"), [("none", 0), ("1", 0), ("2", 0.25), ("3", 0.25)])
def test_the_noise_has_the_strength_of_the_paper(rt, deviation):
    """Sigma is 0.25 for RT2 and RT3; RT1 and no transform leave the image alone."""
    torch.manual_seed(0)
    x = torch.full((64, 3, 32, 32), 0.5)

    image = TRANSFORMS[rt](x).image

    # Clipping at two standard deviations leaves 0.959 of the deviation of a Gaussian.
    assert image.std().item() == pytest.approx(0.959 * deviation, abs=2e-3)


@pytest.mark.parametrize("rt", MOVING)
def test_torch_manual_seed_decides_every_draw(rt):
    """One seed repeats the draw, another one does not, and the generator moves on between draws."""
    x = torch.rand(4, 1, 8, 8)

    def draw(seed):
        torch.manual_seed(seed)
        return [TRANSFORMS[rt](x) for _ in range(2)]

    first, again, other = draw(1), draw(1), draw(2)

    assert torch.equal(first[0].masks, again[0].masks)
    assert torch.equal(first[1].image, again[1].image)
    assert not torch.equal(first[0].masks, first[1].masks)
    assert not torch.equal(first[0].masks, other[0].masks)


def test_an_unknown_transform_is_one_line_that_names_it():
    """A mistyped `rt` names itself and what is known."""
    with pytest.raises(BenchError, match=r"^unknown random transform rt '4': .*1, 2, 3, none"):
        random_transform("4")
