"""sigma-zero (Cina et al., ICLR 2025, arXiv:2402.01879): the fewest pixels, by a smooth count of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.losses import margin
from bench.attacks.minimum_norm.base import MinimumNorm, Nearest
from bench.attacks.search import Unbroken, require_at_least, to_scale
from bench.errors import BenchError
from bench.oracle.geometry import per_row
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import SPARSE

_DECAYS = (0.9, 0.999)  # of Adam's moments (arXiv:1412.6980), its defaults
_LAST = 0.1  # length of the last step, in units of the first
_FEWEST = 10  # steps: the search begins at most of the pixels, and takes about so many to leave them
_PACE = 0.01  # how far the threshold moves in a step, in units of the step


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    delta: Tensor
    mean: Tensor  # Adam's first moment
    square: Tensor  # Adam's second moment
    threshold: Tensor  # pixels that changed less than this are set back, `[B]`


@dataclass(frozen=True)
class SigmaZero(MinimumNorm):
    """Adam on the margin, as long as the prediction is right, and on a smooth count of the changed pixels.

    A pixel whose squared change is s counts s / (s + sigma). After each step, pixels that changed less than a
    threshold are set back; it rises while the point is misclassified and falls while it is not. The published form
    counts values, this one pixels: s sums over the channels, and the largest of them meets the threshold. The
    published run has 1,000 steps.

    Attributes:
        steps: gradient steps, at least 10.
        step_size: Adam's first rate; it falls to a tenth of that along a cosine.
        sigma: how sharply pixels count.
        threshold: at the start.
    """

    families: ClassVar[tuple[str, ...]] = (SPARSE,)

    steps: int = 300
    step_size: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3

    def __post_init__(self) -> None:
        require_at_least(self, _FEWEST, "steps")
        for name in ("step_size", "sigma"):
            if not getattr(self, name) > 0:
                raise BenchError(f"SigmaZero: {name}={getattr(self, name)} must be above 0")
        if not 0 <= self.threshold <= 1:
            raise BenchError(f"SigmaZero: threshold={self.threshold} must be between 0 and 1")

    def search(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        x, zero = found.x, torch.zeros_like(found.x)
        threshold = torch.full((len(x),), self.threshold, device=x.device)
        state = _State(torch.arange(len(y), device=y.device), x, y, zero, zero, zero, threshold)
        for step in range(self.steps):
            reply = found.gradient(oracle, state.x + state.delta, state.y, _short_of_wrong, state.rows)
            left = (1 + math.cos(math.pi * step / self.steps)) / 2
            rate = self.step_size * (_LAST + (1 - _LAST) * left)
            self._step(state, reply.grad, rate, step)
            state.threshold = (state.threshold + torch.where(reply.success == 1, _PACE, -_PACE) * rate).clamp(0, 1)
            small = state.delta.abs().amax(1) < per_row(state.threshold, state.delta[:, 0])
            state.delta = state.delta.masked_fill(small[:, None], 0)
            state.keep(found.open(state.rows))
            if not len(state):
                return
        found.judge(oracle, state.x + state.delta, state.y, state.rows)

    def _step(self, state: _State, grad: Tensor, rate: float, step: int) -> None:
        """Take step number `step`, counted from 0, of Adam, and stay in the box."""
        grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
        grad = to_scale(grad - count_slope(state.delta, self.sigma))
        first, second = _DECAYS
        state.mean = first * state.mean + (1 - first) * grad
        state.square = second * state.square + (1 - second) * grad.square()
        mean, square = state.mean / (1 - first ** (step + 1)), state.square / (1 - second ** (step + 1))
        ahead = state.delta + rate * mean / (square.sqrt() + 1e-8)
        state.delta = (state.x + ahead).clamp(0, 1) - state.x


def count(delta: Tensor, sigma: float) -> Tensor:
    """Return the share of pixels of `delta` `[B, C, H, W]` that changed, smoothly, `[B]`."""
    squares = delta.square().sum(1)
    return (squares / (squares + sigma)).flatten(1).mean(1)


def count_slope(delta: Tensor, sigma: float) -> Tensor:
    """Return the gradient of `count`, of the shape of `delta`."""
    squares = delta.square().sum(1, keepdim=True)
    return 2 * sigma * delta / (squares + sigma).square() / delta[0, 0].numel()


def _short_of_wrong(logits: Tensor, y: Tensor) -> Tensor:
    """Return the margin, up to zero: where the prediction is wrong, only the count matters."""
    return margin(logits, y).clamp_max(0)
