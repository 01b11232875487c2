"""RayS (Chen and Gu, KDD 2020, arXiv:2006.12792): a decision-based attack that searches directions of signs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.search import Unbroken, require_at_least, require_family
from bench.errors import BenchError
from bench.oracle.direct import on_models
from bench.oracle.geometry import per_row, project
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

_TOLERANCE = 1e-3  # of the published binary search, as an L2 length
_FINEST = 1e-7  # radii closer than this give the same float32 image


@dataclass
class _State(Unbroken):
    """The state of every unbroken example; fields are `[B]` unless their comment gives another shape."""

    x: Tensor  # [B, C, H, W]
    y: Tensor
    sign: Tensor  # the best direction so far, `[B, D]` of +1 and -1
    radius: Tensor  # along `sign` to the boundary, in [0, 1], float64; inf before one is found
    attempt: Tensor  # the number of the current block; see `_blocks`
    turn: Tensor  # how often all blocks have been tried
    place: Tensor  # position of every pixel in the order from which blocks are cut, int32 `[B, D]`
    bisecting: Tensor  # whether the binary search for the radius of the attempt is running
    low: Tensor  # bounds of that binary search
    high: Tensor


@dataclass(frozen=True)
class RayS:
    """Search over directions of +1 and -1 for the one along which the boundary is nearest.

    Each attempt flips a block of the signs. If the image at the best radius so far is also
    misclassified in the new direction, a binary search measures the radius there, and the search keeps
    the direction. Blocks halve from the whole image to single pixels. After that the paper continues
    with single pixels in the same order; here blocks of all sizes are tried again, cut from a random
    order of the pixels, a different one for each example.

    An example is done when a misclassified point lies within eps; for the others the attack returns the
    point of the ball in the best direction. It queries only labels and trusts each of them, so it is
    not defined for stochastic defenses. Its authors evaluate robust CIFAR-10 networks with 10,000
    queries.

    Attributes:
        queries: label queries per example.
    """

    queries: int = 1000

    def __post_init__(self) -> None:
        require_at_least(self, 1, "queries")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, ("Linf",))
        if oracle.stochastic:
            raise BenchError("RayS is not defined for a stochastic defense: it trusts single answers")
        x_adv, eps = x.clone(), float(threat.eps)
        state, blocks = _at_start(x, y), _blocks(x[:1].numel()).to(x.device)
        for _ in range(self.queries):
            if not len(state):
                break
            direction = _directions(state, blocks)
            asked = torch.where(state.bisecting, (state.low + state.high) / 2, state.radius.clamp(max=1))
            near = asked <= eps
            images = _along(state.x, direction, asked)
            wrong = oracle.labels(images, state.rows) != state.y
            _learn(state, direction, asked, wrong, _tolerance(x, eps))
            _begin_turn(state, len(blocks), stream)
            done = wrong & near
            if bool(done.any()):
                x_adv[state.rows[done]] = images[done]
                state.keep(~done)
        if len(state):
            x_adv[state.rows] = project(_along(state.x, state.sign, state.radius.clamp(max=1)), state.x, threat)
        return x_adv


def _blocks(size: int) -> Tensor:
    """Return the first position and the length of every block, int64 `[K, 2]`; block number 0 is empty.

    Round s cuts all positions into 2^s blocks of equal length; the last round tries single pixels.
    """
    rows, blocks = [(0, 0)], 1
    while blocks < 2 * size:
        length = -(-size // blocks)
        rows += [(first, length) for first in range(0, size, length)]
        blocks *= 2
    return torch.tensor(rows)


def _at_start(x: Tensor, y: Tensor) -> _State:
    """Return the first state: all signs +1 and every radius unknown."""
    size = x[:1].numel()
    number = torch.zeros_like(y)
    zero = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    return _State(
        torch.arange(len(x), device=x.device),
        x,
        y,
        sign=torch.ones(len(x), size, device=x.device),
        radius=zero + torch.inf,
        attempt=number,  # 0 flips nothing: it measures the first direction itself
        turn=number,
        place=torch.arange(size, dtype=torch.int32, device=x.device).expand(len(x), size),
        bisecting=torch.zeros_like(y, dtype=torch.bool),
        low=zero,
        high=zero,
    )


def _tolerance(x: Tensor, eps: float) -> float:
    """Return the interval at which a binary search ends: the published length, but finer if eps is small."""
    return max(min(_TOLERANCE / math.sqrt(x[:1].numel()), eps / 100), _FINEST)


def _along(x: Tensor, direction: Tensor, radius: Tensor) -> Tensor:
    """Return the images at a radius along directions `[B, D]`, within the box."""
    return (x + per_row(radius.to(x.dtype), x) * direction.view_as(x)).clamp(0, 1)


def _directions(state: _State, blocks: Tensor) -> Tensor:
    """Return the best signs with the block of the attempt flipped, `[B, D]`."""
    first, length = blocks[state.attempt].int().unbind(1)
    ahead = state.place - first[:, None]
    return torch.where((ahead >= 0) & (ahead < length[:, None]), -state.sign, state.sign)


def _learn(state: _State, direction: Tensor, asked: Tensor, wrong: Tensor, tolerance: float) -> None:
    """Record the answers at the radii `asked` `[B]` along the directions `[B, D]`."""
    began = wrong & ~state.bisecting
    state.low = torch.where(began, 0, torch.where(state.bisecting & ~wrong, asked, state.low))
    state.high = torch.where(wrong, asked, state.high)
    measuring = state.bisecting | began
    ended = measuring & (state.high - state.low <= tolerance)
    better = ended & (state.high < state.radius)
    state.sign = torch.where(better[:, None], direction, state.sign)
    state.radius = torch.where(better, state.high, state.radius)
    state.bisecting = measuring & ~ended
    state.attempt = state.attempt + ~state.bisecting


def _begin_turn(state: _State, blocks: int, stream: Stream) -> None:
    """Draw a new order of the pixels for the examples that have tried all blocks."""
    again = state.attempt == blocks
    if not bool(again.any()):
        return
    state.turn = state.turn + again
    state.attempt = torch.where(again, 1, state.attempt)  # 0 flips nothing, and the best direction is measured
    state.place = state.place.clone()
    for turn in set(state.turn[again].tolist()):
        now = again & (state.turn == turn)
        uniform = stream.at("order", turn).rows(state.rows[now]).uniform(state.place.shape[1])
        state.place[now] = uniform.argsort(1).argsort(1).int()
