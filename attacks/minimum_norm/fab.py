"""Fast Adaptive Boundary attack (Croce and Hein, ICML 2020, arXiv:1907.02044), targeted and untargeted.

The hyper-parameters are those of AutoAttack's standard version (Croce and Hein, arXiv:2003.01690):
100 steps, 9 target classes, one restart. Each step approximates the boundary by the plane given by the
logits and their gradients, projects the point and the image onto it, and goes slightly beyond a mixture
of the two projections. After a misclassified point the next step starts nearer to the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.minimum_norm.base import MinimumNorm, Nearest
from bench.attacks.minimum_norm.hyperplane import normalize, onto_hyperplane, reach
from bench.attacks.search import Unbroken, require_at_least
from bench.errors import BenchError
from bench.oracle.answers import Loss, margin
from bench.oracle.geometry import norm, per_row
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream

_FINAL_SEARCH = 3  # steps, section 3.4 of the paper
_START = {"Linf": 0.3, "L2": 1.0, "L1": 5.0}  # radius of restarts when none is known, as in AutoAttack


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    target: Tensor  # the class aimed at; in an untargeted attack the true one
    point: Tensor  # the current point of the search

    @classmethod
    def of(cls, found: Nearest, y: Tensor, target: Tensor) -> _State:
        """Return the state of the unfinished examples, each at its image."""
        rows = found.open(torch.arange(len(y), device=y.device)).nonzero().squeeze(1)
        return cls(rows, found.x[rows], y[rows], target[rows], found.x[rows])


@dataclass(frozen=True)
class _Boundary(MinimumNorm):
    """The steps and hyper-parameters that both attacks share.

    Attributes:
        steps: per run.
        targets: number of wrong classes; all of them if there are fewer.
        n_restarts: runs; the first starts at the image, the others within half of eps from it.
        alpha_max: the largest weight of the step from the image.
        eta: length of a step, in units of the distance to the plane.
        beta: share of the distance from the image that remains after a misclassified point.
    """

    families: ClassVar[tuple[str, ...]] = ("Linf", "L2", "L1")
    measures: ClassVar[bool] = False  # as a part of AutoAttack it stops at broken examples
    precision: ClassVar[str] = "float32"  # another memory format is fine, but bfloat16 would move the planes

    steps: int = 100
    targets: int = 9
    n_restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "targets", "n_restarts", "eta")
        for name in ("alpha_max", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise BenchError(f"{type(self).__name__}: {name}={getattr(self, name)} must be between 0 and 1")

    def _descend(self, oracle: Oracle, found: Nearest, state: _State, ranks: int) -> None:
        """Search once from `state.point`, with the boundaries to `ranks` classes in sight (0: that to the target)."""
        for _ in range(self.steps):
            if not len(state):
                return
            gap, normal = _nearest_plane(oracle, found, state, ranks)
            state.point = self._step(state, gap, normal, found.family)
            wrong, _ = found.judge(oracle, state.point, state.y, state.rows)
            back = state.x + self.beta * (state.point - state.x)
            state.point = torch.where(per_row(wrong, back), back, state.point)
            still = found.open(state.rows)
            if not bool(still.all()):
                state.keep(still)

    def _step(self, state: _State, gap: Tensor, normal: Tensor, family: str) -> Tensor:
        """Return points beyond the plane `gap + <normal, z - point> = 0`, biased towards the image."""
        gap_at_x = gap + (normal * (state.x - state.point)).flatten(1).sum(1)
        # Both projections in one call: it costs a few rounds of small operations, whatever the number of rows.
        there, here = torch.cat([state.point, state.x]), torch.cat([gap, gap_at_x])
        delta, delta_at_x = onto_hyperplane(there, here, torch.cat([normal, normal]), family).chunk(2)
        length, length_at_x = norm(delta, family).clamp_min(1e-8), norm(delta_at_x, family).clamp_min(1e-8)
        bias = per_row((length / (length + length_at_x)).clamp_max(self.alpha_max), delta)
        ahead = (1 - bias) * (state.point + self.eta * delta) + bias * (state.x + self.eta * delta_at_x)
        return ahead.clamp(0, 1)


@dataclass(frozen=True)
class FAB(_Boundary):
    """Untargeted FAB: each step goes to the nearest of the boundaries to the likeliest wrong classes.

    The classes are chosen anew at each point. A step costs a backward per class.
    """

    def search(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        rows = torch.arange(len(y), device=y.device)
        _, clean = found.judge(oracle, found.x, y, rows)
        ranks = min(self.targets, clean.shape[1] - 1)
        for restart in range(self.n_restarts):
            state = _State.of(found, y, y)
            if restart:
                state.point = _random_start(found, state, stream.at("start", restart))
            self._descend(oracle, found, state, ranks)
        _final_search(oracle, found, y, clean)


@dataclass(frozen=True)
class FABTargeted(_Boundary):
    """Targeted FAB: one run for each of the likeliest wrong classes, towards its boundary with the true class.

    Targets follow the order of the logits at the image.
    """

    def search(self, oracle: Oracle, found: Nearest, y: Tensor, stream: Stream) -> None:
        rows = torch.arange(len(y), device=y.device)
        _, clean = found.judge(oracle, found.x, y, rows)
        order = _wrong_classes(clean, y)
        for rank in range(min(self.targets, order.shape[1])):
            for restart in range(self.n_restarts):
                state = _State.of(found, y, order[:, rank])
                if restart:
                    state.point = _random_start(found, state, stream.at("start", rank, restart))
                self._descend(oracle, found, state, 0)
        _final_search(oracle, found, y, clean)


def _wrong_classes(logits: Tensor, y: Tensor) -> Tensor:
    """Return the classes other than `y`, the likeliest first, `[B, classes - 1]`."""
    logits = torch.nan_to_num(logits, nan=torch.inf)
    return logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :-1]


def _gap_to(target: Tensor | None, rank: int) -> Loss:
    """Return the loss that is the logit of `target`, or of the wrong class of this rank, minus the true one."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        other = _wrong_classes(logits.detach(), y)[:, rank] if target is None else target
        logits = logits.float()
        return (logits.gather(1, other[:, None]) - logits.gather(1, y[:, None])).squeeze(1)

    return loss


def _nearest_plane(oracle: Oracle, found: Nearest, state: _State, ranks: int) -> tuple[Tensor, Tensor]:
    """Return the nearest boundary linearized at `point`, `[B]` and `[B, ...]`: gap + <normal, z - point> = 0."""
    losses = [_gap_to(None, rank) for rank in range(ranks)] or [_gap_to(state.target, 0)]
    normal = torch.zeros_like(state.point)
    gap = normal.new_zeros(len(state))
    nearest = torch.full_like(gap, torch.inf)
    for reply in found.gradients(oracle, state.point, state.y, losses, state.rows):
        its_gap, its_normal = normalize(reply.loss, reply.grad)
        away = reach(its_gap, its_normal, found.family)
        closer = away < nearest
        gap, nearest = torch.where(closer, its_gap, gap), torch.where(closer, away, nearest)
        normal = torch.where(per_row(closer, normal), its_normal, normal)
    return gap, normal


def _random_start(found: Nearest, state: _State, stream: Stream) -> Tensor:
    """Return a point in a random direction, at half of eps or of the distance of the nearest known point."""
    draws, shape = stream.rows(state.rows), state.x.shape[1:]
    radius = found.distance[state.rows].clamp_max(found.eps or _START[found.family]).to(state.x.dtype)
    delta = 2 * draws.uniform(*shape) - 1 if found.family == "Linf" else draws.normal(*shape)
    length = per_row(norm(delta, found.family), delta).clamp_min(1e-12)
    return (state.x + per_row(radius / 2, delta) * delta / length).clamp(0, 1)


def _final_search(oracle: Oracle, found: Nearest, y: Tensor, clean: Tensor) -> None:
    """Move the nearest point towards the image, to the zero of the margin if it were linear."""
    low, low_margin = found.x.clone(), margin(clean.float(), y)
    every = torch.arange(len(y), device=y.device)
    for _ in range(_FINAL_SEARCH):
        rows = every[found.open(every) & found.distance.isfinite()]
        if not len(rows):
            return
        high, lead = found.x_adv[rows], found.margin[rows]
        share = torch.nan_to_num(lead / (lead - low_margin[rows]), nan=0.5).clamp(0, 1)
        between = high + per_row(share, high) * (low[rows] - high)
        wrong, logits = found.judge(oracle, between, y[rows], rows)
        low[rows] = torch.where(per_row(wrong, between), low[rows], between)
        low_margin[rows] = torch.where(wrong, low_margin[rows], margin(logits.float(), y[rows]))
