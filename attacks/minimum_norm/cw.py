"""The attack of Carlini and Wagner (IEEE S&P 2017, arXiv:1608.04644) for the nearest point in L2."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.losses import margin
from bench.attacks.minimum_norm.base import MinimumNorm, Nearest
from bench.attacks.search import Unbroken, require_at_least
from bench.errors import BenchError
from bench.oracle.geometry import per_row
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream

_INSIDE = 0.999999  # keeps atanh finite: an edge of the box is at infinity in the variables of the search
_DECAYS = (0.9, 0.999)  # of Adam's moments (arXiv:1412.6980), its defaults
_PATIENCE = 20  # fewest steps between two checks: the first steps of Adam raise the objective everywhere
_PROGRESS = 0.9999  # a descent continues while its objective falls below this share of its last checked value


@dataclass
class _State(Unbroken):
    """The binary search for the weight of the margin, and the current descent."""

    x: Tensor
    y: Tensor
    weight: Tensor  # `[B]`, and so are the next three
    low: Tensor  # the largest weight that found nothing
    high: Tensor  # the smallest weight that found something
    hit: Tensor  # whether the current weight has found something
    place: Tensor  # w of the paper: x_adv = (1 + tanh(w)) / 2
    mean: Tensor  # Adam's first moment
    square: Tensor  # Adam's second moment
    moving: Tensor  # whether the descent continues, `[B]`
    lowest: Tensor  # the least value of the objective in this descent, `[B]`
    checked: Tensor  # the value of `lowest` at the last check

    def restart(self) -> None:
        """Begin a new descent at the image."""
        self.place = torch.atanh((2 * self.x - 1) * _INSIDE)
        self.mean, self.square = torch.zeros_like(self.x), torch.zeros_like(self.x)
        self.hit, self.moving = torch.zeros_like(self.hit), torch.ones_like(self.moving)
        self.lowest = torch.full_like(self.weight, torch.inf)
        self.checked = self.lowest.clone()

    def adapt(self) -> None:
        """Choose the next weight: ten times as large until one finds something, then halfway."""
        self.high = torch.where(self.hit, self.weight, self.high)
        self.low = torch.where(self.hit, self.low, self.weight)
        self.weight = torch.where(self.high.isinf(), 10 * self.weight, (self.low + self.high) / 2)


@dataclass(frozen=True)
class CW(MinimumNorm):
    """Adam on the squared distance plus a weight times the remaining margin of the true class.

    The image is written as (1 + tanh(w)) / 2, which is in the box for every w, and a binary search
    finds the smallest weight whose descent reaches a misclassified point (sections 5 and 6; objective
    f6, confidence 0). The paper runs 10,000 steps for each of 9 weights and stops when the objective of
    the batch has not fallen in a tenth of them; here each example stops on its own.

    The learning rate is five times the published 0.01: a black pixel lies seven units of w away from
    gray, and 200 steps of 0.01 do not get there. On digits they left a median distance 20 % larger than
    1000 steps of 0.01; 200 steps of 0.05 leave one 0.2 % larger. On a robust ResNet on CIFAR-10, 200
    steps of 0.05 come within 0.2 % of 500 of 0.01 in the median and 4 % in the mean, for a third of the
    cost. A purely black and white image still hardly moves, because the tanh is flat there; FMN and FAB
    do not have this weakness.

    Attributes:
        steps: of each descent.
        searches: number of weights.
        step_size: Adam's learning rate, in units of w.
        weight: the first weight.
    """

    families: ClassVar[tuple[str, ...]] = ("L2",)

    steps: int = 200
    searches: int = 9
    step_size: float = 0.05
    weight: float = 1e-3

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "searches")
        if self.step_size <= 0 or self.weight <= 0:
            raise BenchError(f"CW: step_size={self.step_size} and weight={self.weight} must be above 0")

    def search(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        none = torch.zeros(len(y), device=y.device)
        state = _State(
            torch.arange(len(y), device=y.device),
            found.x,
            y,
            weight=none + self.weight,
            low=none,
            high=none + torch.inf,
            hit=none > 0,
            place=found.x,
            mean=found.x,
            square=found.x,
            moving=none == 0,
            lowest=none,
            checked=none,
        )
        for _ in range(self.searches):
            state.restart()
            self._descend(oracle, found, state)
            if not len(state):
                return
            state.adapt()

    def _descend(self, oracle: Oracle, found: Nearest, state: _State) -> None:
        every = max(math.ceil(self.steps / 10), _PATIENCE)
        for step in range(self.steps):
            on = state.moving.nonzero().squeeze(1)
            if not len(on):
                return
            x, x_adv = state.x[on], (1 + state.place[on].tanh()) / 2
            # First the image itself: going through tanh and atanh would round it.
            reply = found.gradient(oracle, x_adv if step else x, state.y[on], _shortfall, state.rows[on])
            state.hit[on] |= reply.success == 1
            objective = (x_adv - x).flatten(1).square().sum(1) - state.weight[on] * reply.loss
            state.lowest[on] = torch.minimum(state.lowest[on], objective)
            if step % every == 0:
                state.moving = state.lowest <= _PROGRESS * state.checked
                state.checked = state.lowest.clone()
            if step == self.steps - 1:  # no query would judge the point after another step
                state.keep(found.open(state.rows))
                return
            pull = torch.nan_to_num(reply.grad, nan=0.0, posinf=0.0, neginf=0.0)
            slope = 2 * (x_adv - x) - per_row(state.weight[on], x) * pull
            # By the chain rule, since the derivative of (1 + tanh(w)) / 2 is 2 x_adv (1 - x_adv).
            self._adam(state, on, slope * 2 * x_adv * (1 - x_adv), step + 1)
            state.keep(found.open(state.rows))

    def _adam(self, state: _State, on: Tensor, slope: Tensor, step: int) -> None:
        """Take step number `step`, counted from 1, of Adam for the examples `on`."""
        first, second = _DECAYS
        state.mean[on] = first * state.mean[on] + (1 - first) * slope
        state.square[on] = second * state.square[on] + (1 - second) * slope.square()
        mean, square = state.mean[on] / (1 - first**step), state.square[on] / (1 - second**step)
        state.place[on] -= self.step_size * mean / (square.sqrt() + 1e-8)


def _shortfall(logits: Tensor, y: Tensor) -> Tensor:
    """Return the margin of the best wrong class while it is negative, and zero beyond."""
    return margin(logits, y).clamp_max(0)
