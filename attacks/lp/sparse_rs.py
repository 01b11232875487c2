"""Sparse random search (Croce, Andriushchenko, Singh, Flammarion and Hein, AAAI 2022, arXiv:2006.12834), for pixels.

The search holds K pixels, each at a corner of the color cube. A move gives up some of them, takes as many others, and
stays if the margin rises. It asks for logits only, so masked gradients do not stop it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bench.attacks.search import Unbroken, require_at_least, require_family
from bench.errors import BenchError
from bench.oracle.answers import margin, misclassified
from bench.oracle.direct import on_models
from bench.oracle.geometry import per_row
from bench.oracle.oracle import CONFIRMING_DRAWS, EVIDENCE_DRAWS, Oracle
from bench.oracle.randomness import Stream
from bench.threats import SPARSE, ThreatModel

# After so many of 10,000 queries a move changes a smaller part of what it did at first.
_PLACES = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_PARTS = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor
    taken: Tensor  # which pixels are held, bool `[B, H * W]`
    lead: Tensor  # the margin at `x_adv`, `[B]`; of a stochastic defense the mean of sigmoid(margin) over its draws
    drawn: Tensor  # draws of a stochastic defense at `x_adv`, `[B]`
    wrong: Tensor  # how many of them were wrong, `[B]`


@dataclass(frozen=True)
class SparseRS:
    """Random search over K pixels at corners of the color cube, by the margin.

    The published run has 10,000 queries and moves 0.3 of the pixels at first. A color that is the image's own is
    inverted, as the authors do where a single pixel moves: it would change nothing. The first query is the image.

    A stochastic defense is asked in `eot` draws for a candidate, and in as many more for the point held, so that the
    mean of that grows exact; a point that takes its place starts with fresh draws, because those by which it was
    chosen are partly luck. An example is dropped when `EVIDENCE_DRAWS` + `CONFIRMING_DRAWS` such draws were all wrong.

    Attributes:
        queries: points per example, the image included; on a stochastic defense two queries of `eot` draws each.
        share: of the K pixels that a move changes at first; at least one moves.
        eot: draws per query of a stochastic defense.
    """

    families: ClassVar[tuple[str, ...]] = (SPARSE,)
    precision: ClassVar[Literal["float32"]] = "float32"

    queries: int = 2000
    share: float = 0.3
    eot: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, 1, "queries", "eot")
        if not 0 < self.share <= 1:
            raise BenchError(f"SparseRS: share={self.share} must be above 0 and at most 1")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, self.families)
        size = x.shape[2] * x.shape[3]
        count = min(int(threat.eps), size)
        found = x.clone()
        none = torch.zeros(len(x), size, dtype=torch.bool, device=x.device)
        lowest = torch.full((len(x),), -torch.inf, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        state = _State(rows, x, y, x, none, lowest, torch.zeros_like(rows), torch.zeros_like(rows))
        judge = self._judge_draws if oracle.stochastic else self._judge
        state.drop_broken(oracle)
        for query in range(self.queries):
            if not len(state):
                break
            if not query:  # an image that is wrong already must not be handed in right
                judge(oracle, state, state.x_adv, state.taken, found)
                continue
            if query == 1:  # the first points are held whatever their margin
                state.lead = torch.full_like(state.lead, -torch.inf)
            moved = changed(query, self.queries, self.share, count) if query > 1 else count
            draws = stream.at("move", query).rows(state.rows)
            judge(oracle, state, *_move(state, moved, draws), found)
        found[state.rows] = state.x_adv
        return found

    def _judge(self, oracle: Oracle, state: _State, x_new: Tensor, taken: Tensor, found: Tensor) -> None:
        """Query the new points, hold those of a larger margin, and drop the examples the oracle calls broken."""
        logits = oracle.logits(x_new, state.rows, y=state.y)
        lead = torch.nan_to_num(margin(logits, state.y), nan=torch.inf)
        better = (lead > state.lead) | misclassified(logits, state.y)
        state.lead = torch.where(better, lead, state.lead)
        _hold(state, better, x_new, taken)
        found[state.rows] = state.x_adv
        state.drop_broken(oracle)

    def _judge_draws(self, oracle: Oracle, state: _State, x_new: Tensor, taken: Tensor, found: Tensor) -> None:
        """Do the same by draws, and add fresh ones to those at the points held."""
        better = self._draw(oracle, state, x_new)[0] > state.lead
        _hold(state, better, x_new, taken)
        for name in ("lead", "drawn", "wrong"):
            setattr(state, name, torch.where(better, 0, getattr(state, name)))
        lead, wrong = self._draw(oracle, state, state.x_adv)
        total = state.lead * state.drawn + lead * self.eot
        state.drawn, state.wrong = state.drawn + self.eot, state.wrong + wrong
        state.lead = total / state.drawn
        found[state.rows] = state.x_adv
        state.keep((state.drawn < EVIDENCE_DRAWS + CONFIRMING_DRAWS) | (state.wrong < state.drawn))

    def _draw(self, oracle: Oracle, state: _State, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of sigmoid(margin) over `eot` draws at `x`, and the number of wrong ones, `[B]` each."""
        total, wrong = torch.zeros_like(state.lead), torch.zeros_like(state.wrong)
        for _ in range(self.eot):
            logits = oracle.logits(x, state.rows)
            total += torch.nan_to_num(margin(logits, state.y).sigmoid(), nan=1.0)
            wrong += misclassified(logits, state.y)
        return total / self.eot, wrong


def _hold(state: _State, better: Tensor, x_new: Tensor, taken: Tensor) -> None:
    state.x_adv = torch.where(per_row(better, x_new), x_new, state.x_adv)
    state.taken = torch.where(better[:, None], taken, state.taken)


def changed(query: int, queries: int, share: float, count: int) -> int:
    """Return how many of `count` pixels move at query `query`, counted from 0, of `queries`."""
    place = int(query / queries * 10_000)
    return max(int(share / _PARTS[sum(place > each for each in _PLACES)] * count), 1)


def _move(state: _State, moved: int, draws: Stream) -> tuple[Tensor, Tensor]:
    """Return new points, and the pixels that they hold; where all are held, pixels get other colors."""
    channels, height, width = state.x.shape[1:]
    size = height * width
    numbers = draws.uniform(1 + channels, size)
    order, colors = numbers[:, 0], numbers[:, 1:]
    held = int(state.taken[0].sum())
    moved = min(moved, size - held) if held < size else moved
    # Random numbers rank the pixels; those held, and those free, each have ranks of their own.
    given = _first(order, state.taken, min(moved, held))
    new = _first(order, ~state.taken, moved) if held < size else given
    corner = (colors > 0.5).to(state.x.dtype).view(-1, channels, height, width)
    corner = torch.where((corner == state.x).all(1, keepdim=True), 1 - corner, corner)
    points = torch.where(_as_mask(given, state.x), state.x, state.x_adv)
    return torch.where(_as_mask(new, state.x), corner, points), (state.taken & ~given) | new


def _first(order: Tensor, among: Tensor, count: int) -> Tensor:
    """Return the `count` pixels of the smallest `order` among some, bool `[B, H * W]`."""
    if not count:
        return torch.zeros_like(among)
    chosen = order.masked_fill(~among, torch.inf).argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(among).scatter(1, chosen, value=True)


def _as_mask(pixels: Tensor, x: Tensor) -> Tensor:
    return pixels.view(len(x), 1, *x.shape[2:])
