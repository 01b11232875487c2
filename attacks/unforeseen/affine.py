"""Affine warps: shift, turn, scale and shear (MultiRobustBench, Dai et al., ICML 2023, arXiv:2302.10980)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.attacks.unforeseen.rendered import Scene
from bench.attacks.unforeseen.warp import Warp, coordinates, read


def render(x: Tensor, change: Tensor) -> Tensor:
    """Warp images `x` `[B, C, H, W]` by one affine map each.

    Args:
        x: images in [0, 1].
        change: `[B, 2, 3]`; the pixel at (h, v), in coordinates from -1 to 1 to the right and down, is
            read at `(h, v) + change @ (h, v, 1)`. Zero gives exactly `x`.
    """
    across, down = coordinates(x, change)
    entry = change[..., None, None]
    moves = [entry[:, i, 0] * across + entry[:, i, 1] * down + entry[:, i, 2] for i in range(2)]
    return read(x, moves[0], moves[1])


@dataclass(frozen=True)
class Affine(Warp):
    """The worst affine warp: every entry of its 2 x 3 matrix is within eps of the identity's.

    A bound of 0.1 shifts an image of 32 pixels by up to 1.6 pixels, and moves its corners by up to 4.8.
    """

    family: ClassVar[str] = "affine"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)

    def _entries(self) -> tuple[int, ...]:
        return 2, 3
