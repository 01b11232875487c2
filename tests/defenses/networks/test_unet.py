"""The U-Net that repaints: an image of the same shape, from what is not covered."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.networks.unet import UNet
from bench.types import ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)
CIFAR = ImageSpec((3, 32, 32), 10)
ODD = ImageSpec((3, 13, 7), 5)


@pytest.mark.parametrize("spec", [DIGITS, CIFAR, ODD], ids=["digits", "cifar", "odd"])
def test_the_purifier_paints_an_image_of_the_same_shape_in_the_box(spec):
    """Whatever its weights, what the classifier gets is an image in [0, 1]."""
    torch.manual_seed(0)
    purifier = UNet(spec.shape[0])
    with torch.no_grad():
        for parameter in purifier.parameters():
            parameter.mul_(5)
    x = torch.rand(4, *spec.shape)

    painted = purifier(x, torch.zeros_like(x[:, :1])).detach()

    assert painted.shape == x.shape
    assert 0 <= painted.min() < 0.1
    assert 0.9 < painted.max() <= 1


def test_the_purifier_cannot_see_what_the_mask_covers():
    """Covered pixels do not reach the output, uncovered ones do."""
    torch.manual_seed(0)
    purifier = UNet(1)
    x, mask = torch.rand(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    mask[:, :, :4] = 1

    painted = purifier(x, mask)

    assert torch.equal(painted, purifier(torch.where(mask == 1, 1 - x, x), mask))
    assert not torch.equal(painted, purifier(torch.where(mask == 1, x, 1 - x), mask))
