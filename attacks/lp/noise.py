"""Uniform noise in the ball, the best of many draws: the baseline that every attack has to beat.

Carlini et al., "On evaluating adversarial robustness", arXiv:1902.06705, section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.losses import margin
from bench.attacks.search import Unbroken, require_at_least, require_family
from bench.oracle.answers import misclassified
from bench.oracle.direct import on_models
from bench.oracle.geometry import per_row, random_in_ball
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import LP_FAMILIES, ThreatModel


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Uniform:
    """The point with the largest margin among `n_draws` random points.

    An attack that finds less than this has a bug, and a defense that falls to it defends nothing.
    Points are uniform in the Linf ball; in L2 and L1 they have a random direction and length. Point
    number k is the same whatever `n_draws` is.

    A deterministic defense is queried once per point, until an answer is wrong. A stochastic defense
    answers each point with one draw, and the largest of a hundred such answers is luck. So the best
    `finalists` points are queried again, and the mean of sigmoid(margin) over `eot` fresh draws
    decides between them.

    Attributes:
        n_draws: points tried.
        eot: fresh draws per finalist of a stochastic defense.
        finalists: points at which a stochastic defense is queried again.
    """

    n_draws: int = 100
    eot: int = 20
    finalists: int = 5

    # Exempt from the check that an attack breaks a linear classifier: with more than a few pixels noise cannot.
    exempt: ClassVar[str] = "random points have no aim"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "n_draws", "eot", "finalists")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, LP_FAMILIES)
        order = self._screen(oracle, x, y, threat, stream).argsort(dim=1, descending=True, stable=True)
        if not oracle.stochastic:
            return _points(x, order[:, 0], threat, stream)
        rows = torch.arange(len(x), device=x.device)
        best, most = x, torch.full((len(x),), -1.0, device=x.device)
        for rank in range(min(self.finalists, self.n_draws)):
            points = _points(x, order[:, rank], threat, stream)
            score = torch.zeros_like(most)
            for _ in range(self.eot):
                score += torch.nan_to_num(margin(oracle.logits(points, rows), y).sigmoid(), nan=1.0)
            best = torch.where(per_row(score > most, x), points, best)
            most = torch.maximum(score, most)
        return best

    def _screen(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, stream: Stream) -> Tensor:
        """Return the margin at every point in one draw, `[B, n_draws]`; -inf at points that were not queried."""
        margins = torch.full((len(x), self.n_draws), -torch.inf, device=x.device)
        state = _State(torch.arange(len(x), device=x.device), x, y)
        for draw in range(self.n_draws):
            if not len(state):
                break
            points = _point(state.x, draw, threat, stream.rows(state.rows))
            logits = oracle.logits(points, state.rows)
            wrong = misclassified(logits, state.y)
            found = torch.nan_to_num(margin(logits, state.y), nan=torch.inf)
            if not oracle.stochastic:
                found = torch.where(wrong, torch.inf, found)
            margins[state.rows, draw] = found
            if not oracle.stochastic:
                state.keep(~wrong)
        return margins


def _point(x: Tensor, draw: int, threat: ThreatModel, stream: Stream) -> Tensor:
    return random_in_ball(x, stream.at("draw", draw).uniform(*x.shape[1:]), threat)


def _points(x: Tensor, draws: Tensor, threat: ThreatModel, stream: Stream) -> Tensor:
    """Return point number `draws[i]` of each row i, drawn again: keeping all points would take much memory."""
    points = x.clone()
    for draw in sorted(set(draws.tolist())):
        rows = (draws == draw).nonzero().squeeze(1)
        points[rows] = _point(x[rows], draw, threat, stream.rows(rows))
    return points
