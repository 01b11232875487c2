"""Fast minimum-norm attack (Pintor et al., NeurIPS 2021, arXiv:2102.12827) in Linf, L2 and L1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.answers import Gradient
from bench.attacks.hyperplane import normalize, reach
from bench.attacks.losses import margin
from bench.attacks.nearest import MinimumNorm, Nearest, farthest
from bench.attacks.trajectory import Unbroken, direction, require_at_least
from bench.errors import BenchError
from bench.geometry import norm, onto_ball, per_row
from bench.oracle import Oracle
from bench.random import Stream

_LAST_STEP = 0.01  # length of the last step, in units of the first
_LAST_GAMMA = 0.001


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor
    radius: Tensor  # of the ball x_adv is in, `[B]`
    limit: Tensor  # the largest radius there is in the box, `[B]`


@dataclass(frozen=True)
class FMN(MinimumNorm):
    """Gradient steps on the margin inside a ball whose radius follows the boundary.

    Until a misclassified point is found, the radius is where the boundary would be if the margin were
    linear; then it shrinks below the nearest such point after a success and grows after a failure.
    Every point is judged, the last one too. Algorithm 1 of the paper, starting at the image, with one
    addition: that first guess grows in any case, the faster the fewer steps are left. Without it 3 of 32
    digits behind a robust network were not broken at any distance.

    Attributes:
        steps: gradient steps.
        step_size: L2 length of the first step; it falls to a hundredth of that along a cosine.
        gamma: by how much the radius first shrinks or grows in a step; it falls to 0.001 in the same way.
    """

    families: ClassVar[tuple[str, ...]] = ("Linf", "L2", "L1")

    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps")
        if not 0 < self.gamma < 1 or self.step_size <= 0:
            raise BenchError(f"FMN: gamma={self.gamma} must be between 0 and 1, and step_size={self.step_size} above 0")

    def search(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        limit = farthest(found.x, found.family)
        everywhere = torch.full_like(limit, torch.inf)
        state = _State(torch.arange(len(y), device=y.device), found.x, y, found.x, everywhere, limit)
        for step in range(self.steps):
            left = (1 + math.cos(math.pi * step / self.steps)) / 2
            reply = found.gradient(oracle, state.x_adv, state.y, margin, state.rows)
            falling, rising = (_LAST_GAMMA + (self.gamma - _LAST_GAMMA) * part for part in (left, 1 - left))
            state.radius = _radius(state, found, reply, falling, rising)
            length = self.step_size * (_LAST_STEP + (1 - _LAST_STEP) * left)
            ahead = state.x_adv - state.x + length * direction(reply.grad, "L2")
            state.x_adv = (state.x + _onto_balls(ahead, state.radius, found.family)).clamp(0, 1)
            state.keep(found.open(state.rows))
            if not len(state):
                return
        found.judge(oracle, state.x_adv, state.y, state.rows)


def _radius(state: _State, found: Nearest, reply: Gradient, gamma: float, least: float) -> Tensor:
    """The radius of the next step, `[B]`; without a success it grows by a share of `least` at least."""
    nearest = found.distance[state.rows].to(state.radius.dtype)
    to_boundary = reach(*normalize(reply.loss, reply.grad), found.family)
    length = norm(state.x_adv - state.x, found.family)
    # Where the margin is linear the guess is exact, and rounding leaves every point just short of the
    # boundary; where it is concave, every guess is short.
    guess = torch.maximum(length + to_boundary, length * (1 + least))
    shrunk = torch.minimum(state.radius * (1 - gamma), nearest)
    grown = torch.where(nearest.isfinite(), state.radius * (1 + gamma), guess)
    return torch.minimum(torch.where(reply.success == 1, shrunk, grown), state.limit)


def _onto_balls(delta: Tensor, radius: Tensor, family: str) -> Tensor:
    """Each row projected onto the ball of its own radius."""
    scale = per_row(radius, delta).clamp_min(1e-12)
    return scale * onto_ball(delta / scale, 1.0, family)
