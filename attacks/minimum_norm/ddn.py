"""Decoupled direction and norm (Rony et al., CVPR 2019, arXiv:1811.09600): the nearest point in L2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.minimum_norm.base import MinimumNorm, Nearest, farthest
from bench.attacks.search import Unbroken, direction, require_at_least, require_loss
from bench.errors import BenchError
from bench.oracle.geometry import norm, per_row
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream

_LAST_STEP = 0.01  # length of the last step; the first has length one


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor
    radius: Tensor  # of the sphere that x_adv is on, `[B]`
    limit: Tensor  # the largest distance within the box, `[B]`: a larger radius changes nothing


@dataclass(frozen=True)
class DDN(MinimumNorm):
    """Gradient steps on the cross-entropy along a sphere that shrinks when the point is misclassified.

    The search judges every point, the last one too. It follows section 4 and algorithm 1 of the paper,
    without the rounding to 256 levels: the harness judges float32 images.

    Attributes:
        steps: gradient steps; their length falls from 1 to 0.01 along a cosine.
        gamma: share by which the radius shrinks or grows in a step.
        start: the first radius.
        loss: `"ce"`, `"margin"` or `"dlr"`. On a robust ResNet the margin finds points 8 % nearer: with
            many classes the cross-entropy leads between two of them.
    """

    families: ClassVar[tuple[str, ...]] = ("L2",)

    steps: int = 100
    gamma: float = 0.05
    start: float = 1.0
    loss: str = "ce"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps")
        require_loss(self.loss)
        if not 0 < self.gamma < 1 or self.start <= 0:
            raise BenchError(f"DDN: gamma={self.gamma} must be between 0 and 1, and start={self.start} above 0")

    def search(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        limit = farthest(found.x, "L2")
        radius = torch.full_like(limit, self.start)
        state = _State(torch.arange(len(y), device=y.device), found.x, y, found.x, radius, limit)
        for step in range(self.steps):
            reply = found.gradient(oracle, state.x_adv, state.y, LOSSES[self.loss], state.rows)
            length = _LAST_STEP + (1 - _LAST_STEP) * (1 + math.cos(math.pi * step / self.steps)) / 2
            ahead = state.x_adv - state.x + length * direction(reply.grad, "L2")
            shrunk = torch.where(reply.success == 1, 1 - self.gamma, 1 + self.gamma)
            state.radius = torch.minimum(state.radius * shrunk, state.limit)
            scale = state.radius / norm(ahead, "L2").clamp_min(1e-12)
            state.x_adv = (state.x + per_row(scale, ahead) * ahead).clamp(0, 1)
            state.keep(found.open(state.rows))
            if not len(state):
                return
        found.judge(oracle, state.x_adv, state.y, state.rows)
