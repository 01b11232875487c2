"""Glitch: the lines of an image shift sideways, each color by itself (UA-v2: Kaufmann et al., arXiv:1908.08016 v4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.search import require_at_least
from bench.attacks.unforeseen.rendered import Rendered, Scene, by_side
from bench.oracle.randomness import Stream

_LINES = (8, 16, 56)  # across the height of the image; 16 and 56 are the published numbers


def render(x: Tensor, shift: Tensor) -> Tensor:
    """Read each line of each channel of `x` from further right, interpolated linearly.

    Args:
        x: images `[B, C, H, W]` in [0, 1].
        shift: `[B, C, lines]`; 2 is the width of the image. The lines divide the height as evenly as
            possible. Zero gives exactly `x`. Beyond the edge an image continues as its mirror image.
    """
    height, width = x.shape[2:]
    line = torch.arange(height, device=x.device) * shift.shape[2] // height
    pixels = shift[:, :, line, None] * (width / 2)
    whole = pixels.detach().floor()
    part = pixels - whole
    left = whole.long() + torch.arange(width, device=x.device)
    return (_mirrored(x, left) * (1 - part) + _mirrored(x, left + 1) * part).clamp(0, 1)


def _mirrored(x: Tensor, column: Tensor) -> Tensor:
    """Return the pixels of `x` `[B, C, H, W]` at these columns, of the same shape and any integer value."""
    width = x.shape[3]
    column = column % (2 * width)
    return x.gather(3, torch.minimum(column, 2 * width - 1 - column))


@dataclass(frozen=True)
class Glitch(Rendered):
    """The worst shifts of the lines of each channel, by at most eps halves of the width of the image.

    UA-v2 takes eps 0.03, 0.05 and 0.1, 16 lines and 60 steps of 0.0025 on CIFAR-10, and 56 lines for
    large images. A bound of 0.05 is 0.8 pixels of 32. The published program reads every image half a
    pixel off, which blurs even unshifted lines; here a shift of zero gives the image itself.

    Attributes:
        steps: gradient steps per restart.
        step_size: Adam's learning rate, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        lines: number of lines of an image, at most its height; 0 takes it from the size of the image.
    """

    steps: int = 60
    optimizer: str = "adam"
    lines: int = 0

    family: ClassVar[str] = "glitch"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "lines")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return random shifts `[B, C, lines]`."""
        lines = min(self.lines or by_side(x, _LINES), x.shape[2])
        return eps * (2 * stream.uniform(x.shape[1], lines) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
