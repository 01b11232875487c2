"""Square Attack (Andriushchenko et al., ECCV 2020, arXiv:1912.00049): score-based random search."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import margin
from bench.attacks.lp.square_budget import move_budget, signs, tiles, window
from bench.attacks.search import Unbroken, require_at_least, require_family
from bench.errors import BenchError
from bench.oracle.answers import misclassified
from bench.oracle.direct import on_models
from bench.oracle.geometry import per_row, project
from bench.oracle.oracle import CONFIRMING_DRAWS, EVIDENCE_DRAWS, Oracle
from bench.oracle.randomness import Stream
from bench.threats import LP_FAMILIES, ThreatModel

_BLOCK = 50  # queries whose random numbers are drawn in one call
# After each of these queries out of 10,000 the share of the image that a square covers is halved, as published.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_best: Tensor
    loss: Tensor  # the margin at x_best, `[B]`; for a stochastic defense total / drawn
    uniform: Tensor  # random numbers of a block of queries, `[B, _BLOCK, 5 + 2 C]`
    # Statistics of x_best for a stochastic defense, `[B]` each:
    total: Tensor  # the sum of sigmoid(margin) over its draws
    squares: Tensor  # the sum of its squares
    drawn: Tensor  # the number of these draws
    wrong: Tensor  # the number of wrong ones among them


@dataclass(frozen=True)
class Square:
    """Random search on the margin: a move is kept if it raises the margin or fools the model.

    A move sets a square of the image to a corner of the Linf ball, or moves the L2 or L1 budget of two
    squares into one of them (`square_budget`). Squares shrink with the published schedule, stretched
    to `queries` (AutoAttack runs the first half of the schedule for 10,000 queries). A move that would
    change nothing takes the opposite signs instead. The defaults are those of AutoAttack's standard
    version: 5,000 queries and a first share of 0.8.

    Against a stochastic defense the search maximizes the mean of sigmoid(margin) over `eot` draws. The
    largest of many noisy means is a lucky one: if the search stored it, no honest mean would ever beat
    it. So the best point is drawn again, `eot` times before each move, and its mean leaves out the
    draws by which it was chosen. A lucky point is found out, and the mean of a good one grows more
    exact with every move. A move must beat it by a standard error of the difference. On halfspaces
    with noise of known size that found points of higher error rate, at the same number of passes, than
    accepting any difference (by 3 to 8 points) or storing the largest mean (by 4 to 11). The search
    drops an example when `EVIDENCE_DRAWS` + `CONFIRMING_DRAWS` such draws were all wrong.

    Attributes:
        queries: moves per restart, each one query of a deterministic defense; the start is one more.
            On a stochastic defense a move takes two queries of `eot` draws.
        p_init: share of the image covered by the first squares.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        eot: draws per query of a stochastic defense.
    """

    queries: int = 5000
    p_init: float = 0.8
    n_restarts: int = 1
    eot: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, 1, "queries", "n_restarts", "eot")
        if not 0 < self.p_init <= 1:
            raise BenchError(f"Square: p_init={self.p_init} must be in (0, 1]: it is a share of the image")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, LP_FAMILIES)
        found = _Found(x.clone(), torch.full((len(x),), -torch.inf, device=x.device))
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.n_restarts):
            if len(rows):
                rows = self._run(oracle, x, y, rows, threat, stream.at("square", restart), found)
        return found.x_adv

    def _run(
        self, oracle: Oracle, x: Tensor, y: Tensor, rows: Tensor, threat: ThreatModel, stream: Stream, found: _Found
    ) -> Tensor:
        """Search once; return the rows that stay unbroken."""
        x, y = x[rows], y[rows]
        start = _stripes if threat.family == "Linf" else tiles
        x_best = start(x, stream.at("start").rows(rows), threat)
        lowest = torch.full((len(rows),), -torch.inf, device=x.device)
        zero, none = torch.zeros_like(lowest), torch.zeros_like(rows)
        state = _State(rows, x, y, x_best, lowest, lowest[:, None, None], zero, zero, none, none)
        if oracle.stochastic:
            _recount(oracle, state, self.eot, found)
        else:
            _judge(oracle, state, x_best, found)
        for query in range(self.queries):
            if not len(state):
                break
            if query % _BLOCK == 0:
                draws = stream.at("move", query // _BLOCK).rows(state.rows)
                state.uniform = draws.uniform(_BLOCK, 5 + 2 * x.shape[1])
            side = math.sqrt(share(query, self.queries, self.p_init) * x.shape[2] * x.shape[3])
            x_new = _move(state, round(side), state.uniform[:, query % _BLOCK], threat)
            if oracle.stochastic:
                _challenge(oracle, state, x_new, self.eot)
                _recount(oracle, state, self.eot, found)
            else:
                _judge(oracle, state, x_new, found)
        found.keep(state)
        return oracle.open(state.rows)


@dataclass
class _Found:
    """The best points of all runs so far, with their margins."""

    x_adv: Tensor
    loss: Tensor

    def keep(self, state: _State) -> None:
        better = state.loss >= self.loss[state.rows]
        self.x_adv[state.rows] = torch.where(per_row(better, state.x), state.x_best, self.x_adv[state.rows])
        self.loss[state.rows] = torch.where(better, state.loss, self.loss[state.rows])


def share(query: int, queries: int, p_init: float) -> float:
    """Return the share of the image a square covers at query `query`, counted from 0, of `queries`."""
    place = int(query / queries * 10_000)
    return float(p_init / 2 ** sum(place > halving for halving in _HALVINGS))


def _judge(oracle: Oracle, state: _State, x_new: Tensor, found: _Found) -> None:
    """Query a deterministic defense at `x_new`, keep better points, and drop the examples the oracle calls broken."""
    breaks = oracle.breaks
    logits = oracle.logits(x_new, state.rows, y=state.y)
    loss = torch.nan_to_num(margin(logits, state.y), nan=torch.inf)
    fooled = misclassified(logits, state.y)
    kept = (loss > state.loss) | fooled
    state.x_best = torch.where(per_row(kept, x_new), x_new, state.x_best)
    state.loss = torch.where(kept, loss, state.loss)
    if oracle.caught_up and oracle.breaks != breaks:
        found.keep(state)
        state.drop_broken(oracle)


def _challenge(oracle: Oracle, state: _State, x_new: Tensor, eot: int) -> None:
    """Keep `x_new` where its draws beat those of the best point by a standard error of the difference.

    The statistics of the new point start empty: the draws by which it was chosen are partly luck.
    """
    draws, _ = _draw(oracle, state, x_new, eot)
    spread = (state.squares / state.drawn - state.loss.square()).clamp_min(0) * state.drawn
    error = (spread / (state.drawn - 1).clamp_min(1) * (1 / eot + 1 / state.drawn)).sqrt()
    kept = draws.mean(0) > state.loss + error
    state.x_best = torch.where(per_row(kept, x_new), x_new, state.x_best)
    for name in ("total", "squares", "drawn", "wrong"):
        setattr(state, name, torch.where(kept, 0, getattr(state, name)))


def _recount(oracle: Oracle, state: _State, eot: int, found: _Found) -> None:
    """Add fresh draws at the best points to their statistics, and drop the broken examples."""
    draws, wrong = _draw(oracle, state, state.x_best, eot)
    state.total, state.squares = state.total + draws.sum(0), state.squares + draws.square().sum(0)
    state.drawn, state.wrong = state.drawn + eot, state.wrong + wrong
    state.loss = state.total / state.drawn
    broken = (state.drawn >= EVIDENCE_DRAWS + CONFIRMING_DRAWS) & (state.wrong == state.drawn)
    if bool(broken.any()):
        state.loss = torch.where(broken, torch.inf, state.loss)
        found.keep(state)
        state.keep(~broken)


def _draw(oracle: Oracle, state: _State, x: Tensor, eot: int) -> tuple[Tensor, Tensor]:
    """Return sigmoid(margin) in each of `eot` draws at `x`, `[eot, B]`, and the number of wrong draws, `[B]`."""
    values, wrong = [], torch.zeros_like(state.wrong)
    for _ in range(eot):
        logits = oracle.logits(x, state.rows)
        values.append(torch.nan_to_num(margin(logits, state.y).sigmoid(), nan=1.0))
        wrong += misclassified(logits, state.y)
    return torch.stack(values), wrong


def _move(state: _State, side: int, uniform: Tensor, threat: ThreatModel) -> Tensor:
    if threat.family == "Linf":
        return _set_square(state, side, uniform, threat)
    return move_budget(state.x, state.x_best, side, uniform, threat)


def _stripes(x: Tensor, stream: Stream, threat: ThreatModel) -> Tensor:
    """Return the start for Linf: vertical stripes one pixel wide, each channel at +eps or -eps."""
    sign = signs(stream.uniform(x.shape[1], 1, x.shape[3]))
    return project(x + float(threat.eps) * sign, x, threat)


def _set_square(state: _State, side: int, uniform: Tensor, threat: ThreatModel) -> Tensor:
    """Set a square of every image to x + eps or x - eps, one sign per channel."""
    channels, height, width = state.x.shape[1:]
    square = window(uniform[:, 0], uniform[:, 1], min(max(side, 1), height, width), state.x)
    push = float(threat.eps) * signs(uniform[:, 2 : 2 + channels])[:, :, None]
    image, held = state.x.flatten(2).gather(2, square), state.x_best.flatten(2)
    corner, opposite = (image + push).clamp_(0, 1), (image - push).clamp_(0, 1)
    # Clamping to the box can make the new square equal to the old one, and the query would be wasted.
    same = (corner == held.gather(2, square)).flatten(1).all(1)
    x_new = held.scatter(2, square, torch.where(per_row(same, corner), opposite, corner))
    return x_new.view_as(state.x)
