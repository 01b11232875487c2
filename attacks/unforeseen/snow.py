"""Snow (Kang et al., arXiv:1908.08016): bright flakes, blurred by their fall, whose weights the adversary chooses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.search import direction
from bench.attacks.unforeseen.rendered import Rendered, Scene, _State
from bench.errors import BenchError
from bench.oracle.randomness import Stream

_SIDE = 13  # of a streak, in pixels
_GAP = 4  # pixels between the flakes of a layer
# The place of the first flake of each layer: along the top and along the left of a 4 x 4 cell.
_LAYERS = ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0))
_REGION = 8  # flakes a side of the regions that share a budget
_HALVINGS = 40  # more than the 24 bits of a float32 have to tell apart
_INSIDE = 1 - 1e-6  # slightly within the budget, for rounding


def streaks(stream: Stream) -> Tensor:
    """Draw the shape of a flake of each layer, `[B, 7, 13, 13]` from 0 to 1: a line through the middle.

    As in the source, the line runs 2 to 6 pixels down and to the right (for half of the images to the
    left), is 1, 3 or 5 wide, with soft edges, and is blurred by a 3 x 3 Gaussian of 0.41 to 0.6 pixels.
    """
    middle = _SIDE // 2
    extent = 2 + stream.at("extent").integers(middle - 1, len(_LAYERS), 2)
    chance = stream.at("width").uniform(len(_LAYERS))
    width = 1 + 2 * (chance >= 0.6).float() + 2 * (chance >= 0.9).float()
    steep = (extent[..., 0] > extent[..., 1])[..., None, None]
    longer, shorter = extent.amax(2)[..., None, None], extent.amin(2)[..., None, None]
    place = torch.arange(-middle, middle + 1, device=extent.device).expand(_SIDE, _SIDE)
    along, across = torch.where(steep, place.T, place), torch.where(steep, place, place.T)
    slope = shorter / longer
    reach = 1 + width[..., None, None] * (1 + slope).sqrt() / 4
    line = (reach - (across - slope * along).abs()).clamp(0, 1) * (along.abs() <= longer)
    mirrored = stream.at("side").uniform(1, 1, 1) < 0.5
    return _blur(torch.where(mirrored, line.flip(3), line), stream)


def _blur(line: Tensor, stream: Stream) -> Tensor:
    deviation = 0.41 + 0.19 * stream.at("blur").uniform(len(_LAYERS))[..., None, None]
    near = torch.exp(-0.5 / deviation.square())
    padded = F.pad(line, (1, 1))
    line = (padded[..., 1:-1] + near * (padded[..., :-2] + padded[..., 2:])) / (1 + 2 * near)
    padded = F.pad(line, (0, 0, 1, 1))
    return (padded[..., 1:-1, :] + near * (padded[..., :-2, :] + padded[..., 2:, :])) / (1 + 2 * near)


def snowfall(weights: Tensor, streak: Tensor, height: int, width: int) -> Tensor:
    """Return the brightness that snow adds to each pixel, `[B, 1, H, W]`, linear in the weights.

    Args:
        weights: `[B, 7, ceil(H / 4), ceil(W / 4)]`, of the flakes.
        streak: `[B, 7, side, side]` for an odd side: the shape of a flake.
        height: of the image.
        width: of the image.
    """
    spare, margin = _GAP - 1, streak.shape[-1] // 2
    shifted = [
        F.pad(streak[:, layer], (right, spare - right, down, spare - down))
        for layer, (down, right) in enumerate(_LAYERS)
    ]
    looks = torch.stack(shifted, 1).flatten(0, 1)[:, None].to(weights.dtype)
    snow = F.conv_transpose2d(weights.flatten(0, 1)[None], looks, stride=_GAP, groups=len(weights))[0]
    return snow[:, None, margin : margin + height, margin : margin + width]


@dataclass(frozen=True)
class Snow(Rendered):
    """The worst snow: seven layers of flakes on a grid, each flake between 0 and eps, few of them heavy.

    The mean weight in every region of 8 x 8 flakes of a layer is at most `budget` times eps. In the
    source a weight is eps times the fourth power of an intensity in [0, 1], and the budget limits the
    intensities. Here the variables are the weights themselves. So the set is convex and contains all
    snows of the source, the snows of a smaller eps are among those of a larger one, and zero variables
    give exactly the image. The source also bleaches the image by a quarter whatever eps is; that is
    left out.

    Kang et al. take eps of 0.0625 to 8 on ImageNet-100, MultiRobustBench (arXiv:2302.10980) 0 to 0.1. A
    step goes along the gradient instead of its sign: with a limited budget it matters which flake does
    most.

    Attributes:
        steps: gradient steps per restart.
        step_size: root mean square of a step, in units of eps; with Adam its learning rate.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs, each with its own streaks; a later one attacks the examples that
            the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        budget: the largest mean weight, in units of eps, above 0 and at most 1.
    """

    steps: int = 50
    step_size: float = 0.15
    n_restarts: int = 2
    loss: str = "ce+margin"
    budget: float = 0.2

    family: ClassVar[str] = "snow"
    tolerance: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.budget <= 1:
            raise BenchError(f"Snow: budget={self.budget} must be above 0 and at most 1: it is a share of eps")

    def scene(self, x: Tensor, stream: Stream) -> Scene:
        """Draw the shapes of the flakes, `[B, 7, 13, 13]`."""
        return (streaks(stream),)

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return random weights `[B, 7, ceil(H / 4), ceil(W / 4)]`, most of them small."""
        grid = [math.ceil(pixels / _GAP) for pixels in x.shape[2:]]
        return self.within(eps * torch.exp(-stream.uniform(len(_LAYERS), *grid) / self.budget), eps)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return (x + snowfall(latent, scene[0], *x.shape[2:])).clamp(0, 1)

    def size(self, latent: Tensor) -> Tensor:
        """Return the smallest eps that allows these weights, `[B]`; infinite in rows with a negative weight."""
        latent = latent.double()
        means: Tensor = F.avg_pool2d(latent, _REGION, ceil_mode=True).flatten(1).amax(1)
        size = torch.maximum(latent.flatten(1).amax(1), means / self.budget)
        return torch.where((latent < 0).flatten(1).any(1), torch.inf, size)

    def within(self, latent: Tensor, eps: float) -> Tensor:
        """Return the allowed weights nearest to `latent`.

        In each region they are min(max(weight - t, 0), eps) for the smallest t >= 0 that meets the
        budget, which bisection finds.
        """
        rows, columns = latent.shape[2:]
        outside = -torch.finfo(latent.dtype).max / 2  # marks padding: such a flake stays at zero
        padded = F.pad(latent, (0, -columns % _REGION, 0, -rows % _REGION), value=outside)
        regions = F.unfold(padded.flatten(0, 1)[:, None], _REGION, stride=_REGION)  # [B * 7, 64, regions]
        allowed = _INSIDE * self.budget * eps * (regions > outside).sum(1, keepdim=True)
        fits = regions.clamp(0, eps).sum(1, keepdim=True) <= allowed
        high = torch.where(fits, 0, regions.amax(1, keepdim=True).clamp_min(0))  # subtracting it leaves no weight
        low = torch.zeros_like(high)
        for _ in range(_HALVINGS):
            between = (low + high) / 2
            above = (regions - between).clamp(0, eps).sum(1, keepdim=True) > allowed
            low, high = torch.where(above, between, low), torch.where(above, high, between)
        kept: Tensor = F.fold((regions - high).clamp(0, eps), padded.shape[2:], _REGION, stride=_REGION)
        return kept.view(padded.shape)[..., :rows, :columns].contiguous()

    def _direction(self, state: _State, grad: Tensor, step: int) -> Tensor:
        if self.optimizer != "steepest":
            return super()._direction(state, grad, step)
        along: Tensor = direction(grad, "L2")
        return along * math.sqrt(grad[0].numel())  # from norm 1 to a root mean square of 1
