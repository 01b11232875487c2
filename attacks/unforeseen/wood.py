"""Wood: the dark rings of a board lie over the image (UA-v2: Kaufmann et al., arXiv:1908.08016 v4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.search import require_at_least
from bench.attacks.unforeseen.rendered import Rendered, Scene, by_side
from bench.oracle.randomness import Stream

# For small, middle and large images (`by_side`); the last two values of each are the published ones.
_RINGS = (2, 5, 4)  # from the center to the middle of an edge
_RESOLUTION = (8, 16, 32)  # points a side of the grid of the warp
_SHARPNESS = (2, 8, 8)  # degree of the root of the sine: the higher, the thinner the rings
_DARKEST = 1e-6  # least sine under the root, because the slope of the root at zero is infinite


def render(x: Tensor, warp: Tensor, rings: int, sharpness: int) -> Tensor:
    """Darken `x` along rings around its center.

    A pixel at distance r from the center, the middle of an edge being at 1, is multiplied by a root of
    |sin(pi * rings * (r + warp))|: it is darkest where r + warp is a multiple of 1 / rings.

    Args:
        x: images `[B, C, H, W]` in [0, 1].
        warp: `[B, 1, points, points]`, interpolated bilinearly between its points; zero leaves the
            rings round.
        rings: number of rings from the center to the middle of an edge.
        sharpness: degree of the root.
    """
    return x * shade(warp, rings, sharpness, *x.shape[2:]).to(x.dtype)


def shade(warp: Tensor, rings: int, sharpness: int, height: int, width: int) -> Tensor:
    """Return the factor on every pixel, `[B, 1, H, W]`, in (0, 1] and float64.

    In float32 the last bit of the sine would show near its zeros, where the root is steep.
    """
    warp = warp.double()
    across = (2 * torch.arange(width, device=warp.device, dtype=warp.dtype) + 1) / width - 1
    down = (2 * torch.arange(height, device=warp.device, dtype=warp.dtype) + 1) / height - 1
    distance = (across.square() + down.square()[:, None]).sqrt()
    distance = distance + F.interpolate(warp, (height, width), mode="bilinear", align_corners=False)
    sine = (math.pi * rings * distance).sin().abs()
    return sine.clamp_min(_DARKEST) ** (1 / sharpness)


@dataclass(frozen=True)
class Wood(Rendered):
    """The worst warp of the rings of a board, by at most eps; the middle of an edge is at distance 1.

    UA-v2 takes eps 0.03, 0.05 and 0.1, 5 rings, 16 x 16 points, the eighth root and 70 steps of
    0.000625 on CIFAR-10, and 4 rings and 32 x 32 points for large images. The rings are there whatever
    eps is: eps bounds their warp.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        rings: from the center to the middle of an edge; 0 takes them from the size of the image.
        resolution: points a side of the grid of the warp; 0 takes them from the size of the image.
        sharpness: degree of the root of the sine that darkens the rings: the higher, the thinner they
            are; 0 takes it from the size of the image.
    """

    steps: int = 70
    step_size: float = 0.05
    rings: int = 0
    resolution: int = 0
    sharpness: int = 0

    family: ClassVar[str] = "wood"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "rings", "resolution", "sharpness")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return a random warp `[B, 1, points, points]`."""
        points = self.resolution or by_side(x, _RESOLUTION)
        return eps * (2 * stream.uniform(1, points, points) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent, self.rings or by_side(x, _RINGS), self.sharpness or by_side(x, _SHARPNESS))
