"""The random transforms RT1, RT2 and RT3 of AToP (Lin et al., ICLR 2024, arXiv:2401.16352).

RT1 covers a random quarter of the image blocks; RT2 adds Gaussian noise first; RT3 covers the noisy
image with four masks that do not overlap, so that every pixel is repainted once. Every example gets
its own mask. (The authors' code shares one mask in a batch, so the logits of one image depend on its
neighbors.) Randomness comes from torch's global generator, and the transform is differentiable, so an
adaptive attack can follow the gradient through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import unknown


class Covered(NamedTuple):
    """A transformed batch with its masks, for a purifier to repaint."""

    image: Tensor  # [B, C, H, W] in [0, 1], noise added, nothing covered yet
    masks: Tensor  # [N, B, 1, H, W], 1 where a pixel is missing


@dataclass(frozen=True)
class RandomTransform:
    """Noise, then masks of image blocks.

    Attributes:
        noise: standard deviation of the Gaussian noise, for images in [0, 1].
        masks: number of masks, which do not overlap; 0 leaves the image whole.
        missing_rate: share of blocks that each mask covers.
        grid: blocks per side: on 32x32 images a grid of 8 has blocks of 4x4 pixels.
    """

    noise: float = 0.0
    masks: int = 0
    missing_rate: float = 0.25
    grid: int = 8

    @property
    def stochastic(self) -> bool:
        return self.masks > 0 or self.noise > 0

    def __call__(self, x: Tensor) -> Covered:
        if self.noise > 0:
            x = (x + self.noise * torch.randn_like(x)).clamp(0, 1)
        return Covered(x, self._draw_masks(x))

    def _draw_masks(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        if self.masks == 0:
            return x.new_zeros(1, batch, 1, height, width)
        rows, columns = min(self.grid, height), min(self.grid, width)
        missing = round(self.missing_rate * rows * columns)
        # The rank of each block in a random order: mask k takes the k-th run of ranks.
        rank = torch.rand(batch, rows * columns, device=x.device).argsort(1).argsort(1)
        blocks = torch.stack([(rank >= k * missing) & (rank < (k + 1) * missing) for k in range(self.masks)])
        blocks = blocks.to(x.dtype).view(-1, 1, rows, columns)
        masks = F.interpolate(blocks, size=(height, width), mode="nearest")
        return masks.view(self.masks, batch, 1, height, width)


# Names and values as in the paper's RT1, RT2 and RT3; `none` gives the deterministic pipeline.
TRANSFORMS = {
    "none": RandomTransform(),
    "1": RandomTransform(masks=1),
    "2": RandomTransform(masks=1, noise=0.25),
    "3": RandomTransform(masks=4, noise=0.25),
}


def random_transform(rt: str) -> RandomTransform:
    """Return the transform with a name such as `1` or `none`."""
    if rt not in TRANSFORMS:
        raise unknown("random transform rt", rt, TRANSFORMS)
    return TRANSFORMS[rt]
