"""The discriminator of DeepFill v2: SN-PatchGAN (Yu et al., ICCV 2019, arXiv:1806.03589, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

COARSEST = 4  # pixels per side at which the halving ends, as it does in the source for images of 256
SLOPE = 0.2  # of the leaky ReLU on the negative side


class PatchDiscriminator(nn.Module):
    """A stack of 5x5 convolutions that halve the image, each of spectral norm 1 (arXiv:1802.05957).

    Every output judges one patch of the image. With a width of 64 it has about 211,000 parameters for
    8x8 gray images, where it halves once, and about 2,676,000 for 32x32 color images. There is no batch
    normalization, so the scores of an image do not depend on its batch.

    Args:
        shape: `(C, H, W)` of the images.
        width: channels of the first layer; the second has twice, and later ones four times as many.
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        halvings = max(1, round(math.log2(min(shape[1:]) / COARSEST)))
        layers: list[nn.Module] = []
        channels = shape[0] + 1
        for depth in range(halvings + 1):
            outputs = width * min(2**depth, 4)
            # The first layer keeps the full resolution.
            layers += [_convolution(channels, outputs, stride=2 if depth else 1), nn.LeakyReLU(SLOPE)]
            channels = outputs
        self.layers = nn.Sequential(*layers, _convolution(channels, 1, stride=1))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Score how real each patch looks, `[B, patches]`; a larger score is more real.

        Args:
            image: `[B, C, H, W]` in [0, 1].
            mask: `[B, 1, H, W]`, 1 at pixels that may have been painted.
        """
        scores: Tensor = self.layers(torch.cat([2 * image - 1, mask], dim=1))
        return scores.flatten(1)


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Module:
    # A norm of 1 bounds the slope of the scores, which otherwise grows and leaves the generator no gradient.
    return spectral_norm(nn.Conv2d(inputs, outputs, 5, stride=stride, padding=2))
