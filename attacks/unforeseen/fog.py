"""Fog (Kang et al., arXiv:1908.08016): a fractal cloud whose random numbers the adversary chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.unforeseen.rendered import Rendered, Scene
from bench.errors import BenchError
from bench.oracle.geometry import per_row
from bench.oracle.randomness import Stream


def side(height: int, width: int) -> int:
    """Return the side of the cloud whose middle covers an image: a power of two, at most twice the longer side."""
    return 1 << max(height, width).bit_length()


def plasma(draws: Tensor, decay: float) -> Tensor:
    """Run the diamond-square algorithm (Fournier, Fussell and Carpenter, CACM 1982) on a torus.

    It starts with one point of height zero. Each level halves the distance between the points: first
    the middle of every square becomes the mean of its four corners plus a draw, then the middle of
    every side becomes the mean of its four neighbors plus a draw. The draws of each level weigh less.

    Args:
        draws: `[B, n * n - 1]` for a power of two n, level by level: those of the middles, then those
            of the horizontal and those of the vertical sides.
        decay: factor by which the weight of the draws falls from each level to the next.

    Returns:
        Heights `[B, n, n]`, linear in the draws.
    """
    grid, level, used = draws.new_zeros(len(draws), 1, 1), 0, 0
    while used < draws.shape[1]:
        n = 2**level
        shifts = draws[:, used : used + 3 * n * n].view(-1, 3, n, n) / decay**level
        level, used = level + 1, used + 3 * n * n
        right, below = grid.roll(-1, 2), grid.roll(-1, 1)
        middle = (grid + right + below + right.roll(-1, 1)) / 4 + shifts[:, 0]
        across = (grid + right + middle + middle.roll(1, 1)) / 4 + shifts[:, 1]
        down = (grid + below + middle + middle.roll(1, 2)) / 4 + shifts[:, 2]
        upper = torch.stack([grid, across], 3).flatten(2)
        lower = torch.stack([down, middle], 3).flatten(2)
        grid = torch.stack([upper, lower], 2).flatten(1, 2)
    return grid


def texture(latent: Tensor, height: int, width: int, decay: float) -> Tensor:
    """Return the density of the fog at each pixel, `[B, H, W]`, which spans [0, 1] unless all draws are zero.

    Scaling all draws does not change it.
    """
    cloud = plasma(latent, decay)
    top, left = (cloud.shape[1] - height) // 2, (cloud.shape[2] - width) // 2
    cloud = cloud[:, top : top + height, left : left + width]
    lowest, highest = cloud.amin((1, 2)), cloud.amax((1, 2))
    span = torch.where(highest > lowest, highest - lowest, 1)
    return ((cloud - per_row(lowest, cloud)) / per_row(span, cloud)).clamp(0, 1)


@dataclass(frozen=True)
class Fog(Rendered):
    """The worst white fog of weight at most eps: x_adv = (x + weight * texture) / (1 + weight).

    The variables are the draws of the cloud. Their scale does not change the texture, so it carries
    the weight: the weight is the largest draw in absolute value. So the fogs of a smaller eps are
    among those of a larger one, and zero variables give exactly the image. The source divides by the
    brightest value of each channel plus eps instead, which stretches the contrast of dark images
    whatever eps is.

    Kang et al. take eps of 128/255 and more and a decay of 2 on ImageNet-100, their second version
    (Kaufmann et al., arXiv:1908.08016 v4) 0.3 to 0.5 on CIFAR-10, and MultiRobustBench
    (arXiv:2302.10980) 0 to 50/255.

    Attributes:
        steps: gradient steps per restart.
        step_size: learning rate or length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        decay: factor by which the weight of the draws falls from each level to the next, at least 1;
            the lower, the finer the fog.
    """

    steps: int = 50
    step_size: float = 0.2
    n_restarts: int = 2
    loss: str = "ce+margin"
    optimizer: str = "adam"
    decay: float = 2.0

    family: ClassVar[str] = "fog"
    tolerance: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.decay <= 100:
            raise BenchError(f"Fog: decay={self.decay} must be between 1 and 100: finer fog has a lower one")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return random draws `[B, n * n - 1]`."""
        return eps * (2 * stream.uniform(side(*x.shape[2:]) ** 2 - 1) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        weight = per_row(latent.abs().amax(1), x)
        fog = texture(latent, x.shape[2], x.shape[3], self.decay)[:, None]
        return ((x + weight * fog) / (1 + weight)).clamp(0, 1)
