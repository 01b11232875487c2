"""A small U-Net (Ronneberger et al., MICCAI 2015, arXiv:1505.04597) that repaints missing pixels.

It replaces the inpainting generator in AToP (Lin et al., ICLR 2024, arXiv:2401.16352) and has the same
inputs: the image without its missing pixels, a plane of ones and the mask.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 4  # of channels in a normalization


class UNet(nn.Module):
    """A U-Net of three scales, normalized in groups of channels (arXiv:1803.08494): no example depends on its batch.

    Without normalization fine-tuning diverges at the learning rates that keep it short. With a width of
    12 the network has about 60,000 parameters. It takes images of any height and width.

    Args:
        channels: channels of the images.
        width: channels at full resolution; each coarser scale has twice as many.
    """

    def __init__(self, channels: int, width: int = 12) -> None:
        super().__init__()
        self.down1 = _double_convolution(channels + 2, width)
        self.down2 = _double_convolution(width, 2 * width)
        self.bottom = _double_convolution(2 * width, 4 * width)
        self.up2 = _convolution(4 * width + 2 * width, 2 * width)
        self.up1 = _convolution(2 * width + width, width)
        self.head = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Repaint images.

        Args:
            image: `[B, C, H, W]` in [0, 1].
            mask: `[B, 1, H, W]`, 1 at missing pixels.

        Returns:
            The repainted images, `[B, C, H, W]` in [0, 1].
        """
        # The plane of ones lets a convolution tell the border, where padding is zero, from black pixels.
        fine = self.down1(torch.cat([image * (1 - mask), torch.ones_like(mask), mask], dim=1))
        middle = self.down2(F.max_pool2d(fine, 2, ceil_mode=True))
        coarse = self.bottom(F.max_pool2d(middle, 2, ceil_mode=True))
        middle = self.up2(torch.cat([_enlarge(coarse, middle), middle], dim=1))
        fine = self.up1(torch.cat([_enlarge(middle, fine), fine], dim=1))
        return torch.sigmoid(self.head(fine))


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(math.gcd(GROUPS, outputs), outputs),
        nn.SiLU(),
    )


def _double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs), _convolution(outputs, outputs))


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")
