"""Elastic deformations (Kang et al., arXiv:1908.08016): a smoothed flow moves the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.unforeseen import stadv
from bench.attacks.unforeseen.rendered import Rendered, Scene
from bench.errors import BenchError
from bench.oracle.randomness import Stream

_STD = 3 / 224  # of the Gaussian, in sides of the image, as published for ImageNet-100
_LEAST = 32  # smaller images get the Gaussian of this side; a narrower one would smooth nothing


def smooth(flow: Tensor, std: float) -> Tensor:
    """Smooth a flow `[B, H, W, 2]` by a Gaussian; beyond the edge of the image the flow of the edge continues.

    The window reaches four standard deviations, two pixels at least: 5 x 5 for CIFAR-10 and 25 x 25 for
    ImageNet, as in the source. A constant flow stays the same, and no vector grows longer.
    """
    radius = max(2, math.ceil(4 * std))
    place = torch.arange(-radius, radius + 1, dtype=flow.dtype, device=flow.device)
    weights = torch.exp(-0.5 * (place / std).square())
    weights = weights / weights.sum()
    planes = flow.permute(0, 3, 1, 2).flatten(0, 1)[:, None]
    # A Gaussian is separable: two passes of one line each instead of one of a whole window.
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), weights.view(1, 1, -1, 1))
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    return planes.view(-1, 2, *flow.shape[1:3]).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Elastic(Rendered):
    """The worst smooth deformation: a flow within the bound is smoothed and moves the pixels.

    Kang et al. calibrate eps from 0.125 to 8 pixels on CIFAR-10 (a Gaussian of 0.43 pixels) and from
    0.25 to 16 on ImageNet-100 (3 pixels); MultiRobustBench (arXiv:2302.10980) takes 0 to 1. Steps of
    about eps/sqrt(steps) are theirs. Zero variables give exactly the image; in the source they shrink
    it a little. Beyond the edge the nearest pixel is read, while the source reads black.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        std: standard deviation of the Gaussian, in pixels; 0 takes it from the shorter side of the
            image: 3 for 224 pixels, and for less than 32 pixels that of 32.
    """

    steps: int = 50
    step_size: float = 0.15
    n_restarts: int = 2
    loss: str = "ce+margin"
    std: float = 0.0

    family: ClassVar[str] = "elastic"
    tolerance: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.std < math.inf:
            raise BenchError(f"Elastic: std={self.std} must be a number of pixels, or 0 to take the size of the image")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return a random flow `[B, H, W, 2]` in pixels, before smoothing."""
        return eps * (2 * stream.uniform(*x.shape[2:], 2) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return stadv.render(x, smooth(latent, self.std or _STD * max(_LEAST, min(x.shape[2:]))))
