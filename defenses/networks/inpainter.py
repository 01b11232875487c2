"""The inpainting generator of DeepFill v2 (Yu et al., ICCV 2019, arXiv:1806.03589), which AToP fine-tunes.

It has two stages of gated convolutions: a coarse one fills in missing pixels, a fine one repaints the
whole image. The fine stage's second branch, contextual attention, is left out: it copies patches from far
away in large photographs, and the images here are at most a few of its receptive fields wide. The final
layers are as wide as the first one, while the source halves them.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DILATIONS = (2, 4, 8, 16)  # of the middle layers, as in the source
GAIN = 1.8  # compensates for gates that start half open
LARGE = 32  # least pixels per side of images that are halved twice, as in the source


class GatedInpainter(nn.Module):
    """A coarse and a fine stage of gated convolutions with ELU, without normalization.

    The source has a width of 24 and images of 256x256. Images smaller than 32x32 are halved once instead
    of twice, and dilations that reach beyond the coarsest scale are left out. With a width of 8 it has
    about 61,000 parameters for 8x8 gray images and about 294,000 for 32x32 color images. It takes images
    of any height and width.

    Args:
        shape: `(C, H, W)` of the images.
        width: channels at full resolution; each coarser scale has twice as many.
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 8) -> None:
        super().__init__()
        side = min(shape[1:])
        scales = 2 if side >= LARGE else 1
        dilations = [reach for reach in DILATIONS if reach < side / 2**scales]
        self.coarse = _Stage(shape[0], width, scales, dilations)
        self.fine = _Stage(shape[0], width, scales, dilations)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Repaint images.

        Args:
            image: `[B, C, H, W]` in [0, 1].
            mask: `[B, 1, H, W]`, 1 at missing pixels.

        Returns:
            The output of the fine stage, `[B, C, H, W]` in [0, 1].
        """
        return self.stages(image, mask)[1]

    def stages(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of the coarse and the fine stage; the pixel loss of training has both."""
        # In [-1, 1], as in the source, so that covered pixels are 0, which is gray.
        visible = (2 * image - 1) * (1 - mask)
        coarse = self.coarse(visible, mask)
        # The fine stage sees the image itself at uncovered pixels, as in the source.
        fine = self.fine(visible + coarse * mask, mask)
        return (coarse + 1) / 2, (fine + 1) / 2


class _Stage(nn.Module):
    """One stage, down, dilated and up: from an image `[B, C, H, W]` in [-1, 1] and its mask to an image in [-1, 1]."""

    def __init__(self, channels: int, width: int, scales: int, dilations: list[int]) -> None:
        super().__init__()
        self.first = _Gated(channels + 2, width, kernel=5)
        widths = [width * 2**scale for scale in range(scales + 1)]
        steps = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(_Gated(outer, inner, stride=2), _Gated(inner, inner)) for outer, inner in steps
        )
        deepest = widths[-1]
        self.middle = nn.Sequential(
            _Gated(deepest, deepest),
            *(_Gated(deepest, deepest, dilation=reach) for reach in dilations),
            _Gated(deepest, deepest),
            _Gated(deepest, deepest),
        )
        self.up = nn.ModuleList(
            nn.Sequential(_Gated(inner, outer), _Gated(outer, outer)) for outer, inner in reversed(steps)
        )
        self.head = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        features = self.first(torch.cat([image, torch.ones_like(mask), mask], dim=1))
        sizes = []
        for halve in self.down:
            sizes.append(features.shape[-2:])
            features = halve(features)
        features = self.middle(features)
        for double, size in zip(self.up, reversed(sizes), strict=True):
            features = double(F.interpolate(features, size=size, mode="nearest"))
        return torch.tanh(self.head(features))


class _Gated(nn.Module):
    """A convolution whose every output is an ELU times a gate in (0, 1), a sigmoid of another output.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: height and width of the window.
        stride: 2 halves height and width, rounded up.
        dilation: distance between the pixels of the window.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        margin = dilation * (kernel - 1) // 2
        # One convolution for features and gates: they have the same input.
        self.both = nn.Conv2d(inputs, 2 * outputs, kernel, stride=stride, padding=margin, dilation=dilation)
        # Gates start half open, and there is no normalization: without the gain the signal would fade
        # over thirty layers.
        nn.init.kaiming_normal_(self.both.weight, nonlinearity="relu")
        with torch.no_grad():
            self.both.weight[:outputs].mul_(GAIN)
            self.both.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        features, gates = self.both(x).chunk(2, dim=1)
        return F.elu(features) * torch.sigmoid(gates)
