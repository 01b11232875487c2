"""ReColorAdv (Laidlaw and Feizi, NeurIPS 2019, arXiv:1906.00001): one function recolors every pixel.

The threat model is a function of color: the shift of a pixel depends on its color alone and is at most
eps along each axis of CIELUV, scaled to [0, 1]. A grid of shifts with interpolation between its points
represents the function. The attack claims no Lp distance; the grid itself is the proof.

The conversions are those of sRGB (IEC 61966-2-1) and of CIE 1976 L*u*v* with the white D65. They are
written so that black, where hue is not defined, has finite values and finite slopes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.unforeseen.rendered import Rendered, Scene
from bench.errors import BenchError
from bench.oracle.randomness import Stream

_GRID = (16, 32, 32)  # points along L*, u* and v*, as published

# Vector instructions process up to so many numbers at once, and the rest at the end of a batch is rounded in another
# way: up to 0.04 gray levels in dark colors. So images are padded, and each renders the same in any batch.
_LANES = 64

# Linear sRGB to X, Y and Z, by rows.
_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_KNEE_OF_RGB = 0.04045  # below it the gamma curve of sRGB is a straight line
_KNEE_OF_LINEAR = _KNEE_OF_RGB / 12.92
_KNEE_OF_Y = (6 / 29) ** 3  # below it the lightness is linear in Y
_KNEE_OF_L = 8.0
_SLOPE_OF_L = (29 / 3) ** 3
# Black has no chromaticity, so the denominator on the way back stays at least this large. No color of
# sRGB with L* above 0.002 falls below it.
_LEAST_V = 0.01


def _white() -> tuple[float, float]:
    """Return the chromaticity (u', v') of RGB (1, 1, 1)."""
    red, green, blue = (math.fsum(row) for row in _TO_XYZ)
    total = red + 15 * green + 3 * blue
    return 4 * red / total, 9 * green / total


_WHITE_U, _WHITE_V = _white()


def to_luv(x: Tensor) -> Tensor:
    """Convert sRGB to CIELUV.

    Args:
        x: images `[B, 3, H, W]` in [0, 1].

    Returns:
        `[B, 3, H, W]`: L* / 100, (u* + 100) / 200 and (v* + 100) / 200. The first is in [0, 1]; the
        others leave it for the most saturated colors.
    """
    linear = torch.where(x <= _KNEE_OF_RGB, x / 12.92, ((x.clamp_min(_KNEE_OF_RGB) + 0.055) / 1.055).pow(2.4))
    red, green, blue = torch.einsum("ij,bjhw->bihw", x.new_tensor(_TO_XYZ), linear).unbind(1)
    light = torch.where(green <= _KNEE_OF_Y, _SLOPE_OF_L * green, 116 * green.clamp_min(_KNEE_OF_Y).pow(1 / 3) - 16)
    total = (red + 15 * green + 3 * blue).clamp_min(torch.finfo(x.dtype).tiny)
    u = 13 * light * (4 * red / total - _WHITE_U)
    v = 13 * light * (9 * green / total - _WHITE_V)
    return torch.stack([light / 100, (u + 100) / 200, (v + 100) / 200], 1)


def to_rgb(luv: Tensor) -> Tensor:
    """Convert the values of `to_luv` back to sRGB; colors outside of sRGB are clamped to [0, 1]."""
    light, u, v = luv.unbind(1)
    light, u, v = 100 * light.clamp_min(0), 200 * u - 100, 200 * v - 100
    green = torch.where(light <= _KNEE_OF_L, light / _SLOPE_OF_L, ((light + 16) / 116).pow(3))
    # u' and v' times 13 L*, which avoids a division by the lightness.
    u, v = u + 13 * light * _WHITE_U, (v + 13 * light * _WHITE_V).clamp_min(_LEAST_V)
    red = green * 9 * u / (4 * v)
    blue = green * (12 * 13 * light - 3 * u - 20 * v) / (4 * v)
    back = torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)).to(luv)
    linear = torch.einsum("ij,bjhw->bihw", back, torch.stack([red, green, blue], 1)).clamp(0, 1)
    curve = 1.055 * linear.clamp_min(_KNEE_OF_LINEAR).pow(1 / 2.4) - 0.055
    return torch.where(linear <= _KNEE_OF_LINEAR, 12.92 * linear, curve).clamp(0, 1)


def interpolate(grid: Tensor, luv: Tensor) -> Tensor:
    """Return the shift of every color, trilinear between the points of the grid.

    Args:
        grid: `[B, *_GRID, 3]`, a shift at each point; the points span [0, 1] along each axis.
        luv: colors `[B, 3, H, W]`; a color beyond the grid gets the shift of the nearest face.

    Returns:
        `[B, 3, H, W]`, differentiable in `grid`.
    """
    batch, _, height, width = luv.shape
    sizes = grid.shape[1:4]
    most = torch.tensor([size - 1 for size in sizes], device=luv.device, dtype=luv.dtype)
    place = luv.flatten(2).clamp(0, 1) * most[:, None]
    low = torch.minimum(place.floor(), most[:, None] - 1)
    part = place - low
    low = low.long()
    indices, weights = [], []
    for corner in range(8):
        index, weight = torch.zeros_like(low[:, 0]), torch.ones_like(part[:, 0])
        for axis, size in enumerate(sizes):
            upper = corner >> axis & 1
            index = index * size + low[:, axis] + upper
            weight = weight * (part[:, axis] if upper else 1 - part[:, axis])
        indices.append(index)
        weights.append(weight)
    # One gather for all eight corners: its backward is a single scatter.
    index = torch.stack(indices, 1).view(batch, -1, 1).expand(-1, -1, 3)
    values = grid.flatten(1, 3).gather(1, index).view(batch, 8, -1, 3)
    shift = (torch.stack(weights, 1)[..., None] * values).sum(1)
    return shift.transpose(1, 2).reshape(batch, 3, height, width)


def render(x: Tensor, grid: Tensor) -> Tensor:
    """Recolor `x` `[B, 3, H, W]` by a grid of shifts `[B, *_GRID, 3]`.

    The rounding error of the way to CIELUV and back is subtracted, so a grid of zeros gives exactly `x`.
    """
    pixels = x.shape[2] * x.shape[3]
    colors = F.pad(x.flatten(2), (0, -pixels % _LANES))[:, :, None]
    luv = to_luv(colors)
    moved = (colors + (to_rgb(luv + interpolate(grid, luv)) - to_rgb(luv))).clamp(0, 1)
    return moved[:, :, 0, :pixels].reshape(x.shape)


@dataclass(frozen=True)
class ReColor(Rendered):
    """Ascent of the margin in the grid by Adam; after each step every shift is clamped to the bound.

    Laidlaw, Singla and Feizi (PAT, arXiv:2006.12655) take a bound of 0.06, 100 steps and a grid of 16 x
    32 x 32 shifts in CIELUV on CIFAR-10. Their penalty on rough grids is left out: the bound alone is
    the threat model.

    Attributes:
        steps: gradient steps per restart.
        step_size: Adam's learning rate in units of eps, so that an attack is equally fast for any bound.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        begin: the random start is uniform within this share of the bound; 0 starts at the image.
    """

    step_size: float = 0.1
    optimizer: str = "adam"
    begin: float = 0.5

    family: ClassVar[str] = "recolor"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.begin <= 1:
            raise BenchError(f"ReColor: begin={self.begin} must be between 0 and 1: it is a share of the bound")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return a random grid `[B, *_GRID, 3]` in units of the scaled axes."""
        return self.begin * eps * (2 * stream.uniform(*_GRID, 3) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
