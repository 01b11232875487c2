"""Spatially transformed adversarial examples (Xiao et al., ICLR 2018, arXiv:1801.02612), bounded.

The threat model is a flow: every pixel of `x_adv` is read from a place of `x` at most eps pixels
away along either axis. This is the bounded form of Laidlaw et al. (PAT, arXiv:2006.12655) and of the
DiffPure evaluation, where the bound 0.05 is in grid units of [-1, 1]: 0.05 * 32 / 2 = 0.8 pixels of
a 32 x 32 image. The attack claims no Lp distance; the flow itself is the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.unforeseen.rendered import Rendered, Scene
from bench.errors import BenchError
from bench.oracle.randomness import Stream


def render(x: Tensor, flow: Tensor) -> Tensor:
    """Move the pixels of `x` by bilinear sampling.

    The flow is split into its whole and fractional parts before anything is added to them, so a zero
    flow gives exactly `x`. `torch.nn.functional.grid_sample` would round on its way to normalized
    coordinates and back.

    Args:
        x: images `[B, C, H, W]` in [0, 1].
        flow: `[B, H, W, 2]`, in pixels: output pixel (i, j) is read at (i + flow[i, j, 0],
            j + flow[i, j, 1]). Beyond the edge the nearest edge pixel is read.

    Returns:
        Images in [0, 1], differentiable in `flow`.
    """
    height, width = x.shape[2:]
    whole = flow.detach().floor()
    part = (flow - whole)[:, None]  # the whole part is constant, so the gradient flows through this one
    below, right = part[..., 0], part[..., 1]
    top = whole[..., 0].long() + torch.arange(height, device=x.device)[:, None]
    left = whole[..., 1].long() + torch.arange(width, device=x.device)
    flat = x.flatten(2)

    def pixel(row: Tensor, column: Tensor) -> Tensor:
        index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        return flat.gather(2, index.flatten(1)[:, None].expand(-1, x.shape[1], -1)).view_as(x)

    upper = pixel(top, left) * (1 - right) + pixel(top, left + 1) * right
    lower = pixel(top + 1, left) * (1 - right) + pixel(top + 1, left + 1) * right
    return (upper * (1 - below) + lower * below).clamp(0, 1)


@dataclass(frozen=True)
class StAdv(Rendered):
    """Ascent of the margin in the flow by Adam; after each step the flow is clamped to the bound.

    PAT takes a bound of 0.05 and 100 steps of Adam with a learning rate of 0.01. Its penalty on rough
    flows is left out: the bound alone is the threat model.

    Attributes:
        steps: gradient steps per restart.
        step_size: Adam's learning rate in units of eps, so that an attack is equally fast for any bound.
            The published setting, 0.01 at a bound of 0.05, is 0.2.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        begin: the random start is uniform within this share of the bound; 0 starts at the image.
    """

    step_size: float = 0.2
    optimizer: str = "adam"
    begin: float = 0.5

    family: ClassVar[str] = "stadv"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.begin <= 1:
            raise BenchError(f"StAdv: begin={self.begin} must be between 0 and 1: it is a share of the bound")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return a random flow `[B, H, W, 2]` in pixels."""
        return self.begin * eps * (2 * stream.uniform(*x.shape[2:], 2) - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
