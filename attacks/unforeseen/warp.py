"""The base of affine and perspective warps: coordinates from -1 to 1, and reading an image along them.

The warps are those of MultiRobustBench (Dai et al., ICML 2023, arXiv:2302.10980).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.unforeseen import stadv
from bench.attacks.unforeseen.rendered import Rendered, Scene
from bench.oracle.randomness import Stream


def coordinates(x: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of the pixel centers, horizontal `[W]` and vertical `[H, 1]`, in the dtype of `like`.

    The edges of the image, which are half a pixel beyond the outermost centers, are at -1 and 1.
    """
    height, width = x.shape[2:]
    across = torch.arange(width, device=x.device, dtype=like.dtype)
    down = torch.arange(height, device=x.device, dtype=like.dtype)
    return (2 * across + 1) / width - 1, ((2 * down + 1) / height - 1)[:, None]


def read(x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Read every pixel of `x` `[B, C, H, W]` from another place, bilinearly; beyond the edge, at the edge.

    Args:
        x: images in [0, 1].
        across: distance to the right at which each pixel is read, `[B, H, W]`; 2 is the width of the image.
        down: distance below at which each pixel is read, `[B, H, W]`; 2 is the height.
    """
    height, width = x.shape[2:]
    return stadv.render(x, torch.stack([down * (height / 2), across * (width / 2)], 3))


@dataclass(frozen=True)
class Warp(Rendered):
    """Ascent in the entries of a matrix that maps each pixel to the place where it is read.

    MultiRobustBench takes 20 sign steps of 2 eps / 18. Its matrices act on pixels counted from a corner
    of the image, so that the same bound allows a shift of a tenth of a pixel and a turn by several
    pixels. On coordinates from -1 to 1 all entries have a similar effect, and a bound means the same
    for images of any size. A pixel beyond the edge is read at the edge instead of as black: a warp
    moves the object and leaves no frame that would reveal it.

    Many short climbs with Adam find more than one long one: at a bound of 0.1 an affine warp left an
    undefended ResNet-8 on CIFAR-10 25 % accuracy (5 x 20 steps), 30 % (2 x 50), and 33 % with sign
    steps.

    Attributes:
        steps: gradient steps per restart.
        step_size: Adam's learning rate, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs from a random matrix within the bound; a later one attacks the
            examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
    """

    steps: int = 20
    step_size: float = 0.2
    n_restarts: int = 5
    optimizer: str = "adam"

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return a random matrix within the bound, minus the identity."""
        return eps * (2 * stream.uniform(*self._entries()) - 1)

    def _entries(self) -> tuple[int, ...]:
        raise NotImplementedError
