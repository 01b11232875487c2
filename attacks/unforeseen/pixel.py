"""Pixel: parts of the image lose their resolution (UA-v2: Kaufmann et al., arXiv:1908.08016 v4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.search import require_at_least
from bench.attacks.unforeseen.rendered import Proof, Rendered, Scene, by_side
from bench.oracle.geometry import onto_ball
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

_SLACK = 1e-6  # for rounding in the projection
_BLOCKS = (4, 4, 16)  # pixels a side of a block; 4 and 16 are the published sizes


def render(x: Tensor, weight: Tensor, block: int) -> Tensor:
    """Blend square blocks of `x` with their means.

    Args:
        x: images `[B, C, H, W]` in [0, 1].
        weight: `[B, C, rows, columns]` in [0, 1], one for each block and channel; 0 keeps a block
            exactly, 1 makes it a single color.
        block: pixels a side of a block; those at the right and lower edge may be smaller.
    """
    height, width = x.shape[2:]
    row = (torch.arange(height, device=x.device) // block)[:, None]
    column = torch.arange(width, device=x.device) // block
    mean = F.avg_pool2d(x, block, ceil_mode=True, count_include_pad=False)
    return (x + weight[..., row, column] * (mean[..., row, column] - x)).clamp(0, 1)


@dataclass(frozen=True)
class Pixel(Rendered):
    """The worst choice of blocks to pixelate: the L2 norm of their weights, each in [0, 1], is at most eps.

    UA-v2 takes eps 1, 5 and 10, blocks of 4 pixels and 60 steps of length 1 in L2 on CIFAR-10, and
    blocks of 16 pixels for large images. A block becomes its mean color; the published program takes
    the color of its upper left pixel.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        block: pixels a side of a block; 0 takes them from the size of the image.
    """

    steps: int = 60
    step_size: float = 0.2
    block: int = 0

    family: ClassVar[str] = "pixel"
    ball: ClassVar[str] = "L2"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "block")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return random weights `[B, C, rows, columns]`."""
        block = self._block(x)
        rows, columns = (-(-side // block) for side in x.shape[2:])
        return self.within(stream.uniform(x.shape[1], rows, columns), eps)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent, self._block(x))

    def within(self, latent: Tensor, eps: float) -> Tensor:
        """Return weights in [0, 1] and in the ball: clamped, then scaled down, which keeps them in [0, 1]."""
        return onto_ball(latent.clamp(0, 1), eps, self.ball)

    def violations(self, x: Tensor, x_adv: Tensor, proof: Proof, threat: ThreatModel) -> list[str]:
        wrong = super().violations(x, x_adv, proof, threat)
        if not ((proof.latent >= -_SLACK) & (proof.latent <= 1 + _SLACK)).all():
            wrong.append("the pixel variables leave [0, 1]")
        return wrong

    def _block(self, x: Tensor) -> int:
        return self.block or by_side(x, _BLOCKS)
