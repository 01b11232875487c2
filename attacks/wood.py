"""Wood: the image is seen through the dark rings of a board (UA-v2: Kaufmann et al., arXiv:1908.08016 v4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.rendered import Rendered, Scene, by_side
from bench.attacks.trajectory import require_at_least
from bench.random import Stream

_RINGS = (2, 5, 4)  # from the center to the middle of an edge; 5 and 4 are the published ones
_RESOLUTION = (8, 16, 32)  # points a side of the grid of the warp; likewise
_SHARPNESS = (2, 8, 8)  # which root of the sine is taken: the higher, the thinner the rings; likewise 8
_DARKEST = 1e-6  # of the sine under the root, whose slope at zero is infinite


def render(x: Tensor, warp: Tensor, rings: int, sharpness: int) -> Tensor:
    """Darken `x` along rings around its center.

    A pixel at distance r from the center, the middle of an edge being at 1, is multiplied by a root of
    |sin(pi * rings * (r + warp))|: it is darkest where r + warp is a multiple of 1 / rings.

    Args:
        x: images `[B, C, H, W]` in [0, 1].
        warp: `[B, 1, points, points]`, interpolated bilinearly between its points; zero leaves the
            rings round.
        rings: how many, from the center to the middle of an edge.
        sharpness: which root.
    """
    return x * shade(warp, rings, sharpness, *x.shape[2:]).to(x.dtype)


def shade(warp: Tensor, rings: int, sharpness: int, height: int, width: int) -> Tensor:
    """The factor on every pixel, `[B, 1, H, W]`, in (0, 1] and float64.

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

    attacks.md 3.6 (eps 0.03, 0.05, 0.1; 5 rings; 16 x 16 points; the eighth root; 70 steps of
    0.000625), and 4 rings and 32 x 32 points for large images. The rings are there whatever eps is:
    eps bounds what an adversary does to them.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks what the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        rings: from the center to the middle of an edge; 0 is by the size of the image.
        resolution: points a side of the grid of the warp; 0 is by the size of the image.
        sharpness: which root of the sine darkens the rings: the higher, the thinner they are; 0 is by
            the size of the image.
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
        """A warp `[B, 1, points, points]`."""
        points = self.resolution or by_side(x, _RESOLUTION)
        return eps * (2 * stream.uniform(1, points, points) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent, self.rings or by_side(x, _RINGS), self.sharpness or by_side(x, _SHARPNESS))
