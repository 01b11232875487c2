"""Perspective warps: the image seen from another side (MultiRobustBench, Dai et al., ICML 2023, arXiv:2302.10980)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.attacks.unforeseen.rendered import Scene
from bench.attacks.unforeseen.warp import Warp, coordinates, read

_NEAREST = 1e-2  # smaller denominators, from eps = 0.5 on, are at or beyond the horizon


def render(x: Tensor, change: Tensor) -> Tensor:
    """Warp images `x` `[B, C, H, W]` by one projective map each.

    Args:
        x: images in [0, 1].
        change: `[B, 8]`, the change of the entries of the 3 x 3 identity, row by row without the last:
            the pixel at (h, v), in coordinates from -1 to 1 to the right and down, is read at
            (a / c, b / c) where `(a, b, c) = (identity + change) @ (h, v, 1)`. Zero gives exactly `x`.
    """
    across, down = coordinates(x, change)
    entry = change[..., None, None]
    right, below = (entry[:, i] * across + entry[:, i + 1] * down + entry[:, i + 2] for i in (0, 3))
    depth = entry[:, 6] * across + entry[:, 7] * down
    nearness = (1 + depth).clamp_min(_NEAREST)
    # The displacement (h + right) / (1 + depth) - h, without the difference of two nearly equal numbers.
    return read(x, (right - across * depth) / nearness, (below - down * depth) / nearness)


@dataclass(frozen=True)
class Perspective(Warp):
    """The worst perspective warp: every entry but the last of its 3 x 3 matrix is within eps of the identity's."""

    family: ClassVar[str] = "perspective"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)

    def _entries(self) -> tuple[int, ...]:
        return (8,)
