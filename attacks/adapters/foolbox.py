"""Attacks of foolbox (Rauber et al., JOSS 2020, arXiv:1707.04131) by their names there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.attacks.adapters import library
from bench.attacks.search import require_at_least, require_family
from bench.errors import BenchError
from bench.oracle.geometry import distance, per_row
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

INSTALL = "pip install 'atop-bench[foolbox]'"

# Parameters that no command line can express, or that `Foolbox` sets itself.
_RESERVED = ("self", "init_attack", "tensorboard", "constraint", "update_stats_every_k")
_DISTANCES = {"l1": "L1", "l2": "L2", "linf": "Linf"}
_CONSTRAINTS = {"L2": "l2", "Linf": "linf"}
_TRIES = 25  # images tried as a starting point of a decision-based attack


def parameters(name: str) -> dict[str, Any]:
    """Return the parameters of an attack that a user may set: `(type, default)` by name."""
    return library.settable(_kind(name).__init__, _RESERVED)


@dataclass(frozen=True)
class Foolbox:
    """An attack of foolbox with its own defaults.

    A minimum-norm attack runs without a bound, unless it is one that stops early, and its points are
    clipped to the ball, as foolbox does. A decision-based attack starts at a misclassified image; rows
    for which none is found keep their image.

    Attributes:
        name: of a class in `foolbox.attacks`.
        parameters: of its constructor.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        kind = _kind(self.name)
        given = dict(self.parameters)
        if self.name == "HopSkipJumpAttack":
            require_family(self, threat, tuple(_CONSTRAINTS))
            given["constraint"] = _CONSTRAINTS[threat.family]
        method = kind(**given)
        _require_distance(method, threat, self.name)
        with library.session(stream, "foolbox"):
            view = library.view_of(oracle, x, y)
            if oracle.access == "decision":
                return _decided(method, view, x, y, threat, stream)
            _, x_adv, _ = method(_model(view, x), x, y, epsilons=float(threat.eps))
        return library.cut(x_adv, x, threat)


@dataclass(frozen=True)
class HopSkipJump:
    """HopSkipJump (Chen, Jordan and Wainwright, S&P 2020, arXiv:1904.02144), run by foolbox on a budget.

    The paper reports 1,000, 5,000 and 25,000 queries. Foolbox counts steps instead, and each step takes
    more queries than the one before. Here the attack stops when the budget is spent or every example of
    the batch is broken, and returns the nearest misclassified point among all queries.

    Attributes:
        queries: per example; finding a starting point takes some more.
        gradient_queries: of the first gradient estimate; later ones take more.
    """

    queries: int = 1000
    gradient_queries: int = 100

    def __post_init__(self) -> None:
        require_at_least(self, 1, "queries", "gradient_queries")

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, tuple(_CONSTRAINTS))
        x_adv = x.clone()
        with library.session(stream, "foolbox"):
            start, there = library.starting_points(library.Decisions(oracle, y), x, y, stream, _TRIES)
            if not bool(there.any()):
                return x_adv
            witness = _Witness(oracle, x[there], y[there], threat, self.queries)
            method = _kind("HopSkipJumpAttack")(
                # More than any budget allows: the witness ends the search, not the number of steps.
                steps=self.queries,
                initial_gradient_eval_steps=self.gradient_queries,
                constraint=_CONSTRAINTS[threat.family],
            )
            with contextlib.suppress(_Spent):
                method(_model(witness, x), x[there], y[there], epsilons=None, starting_points=start[there])
        x_adv[there] = library.cut(witness.nearest, x[there], threat)
        return x_adv


class _Spent(Exception):
    """Raised when the budget is spent, or when no example is left to attack."""


class _Witness(library.Decisions):
    """A view that keeps the nearest misclassified point of every example, and ends the search in time."""

    def __init__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, queries: int) -> None:
        super().__init__(oracle, y)
        self.nearest = x.clone()
        self._x, self._y, self._threat, self._left = x, y, threat, queries
        self._length = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)

    def forward(self, x: Tensor) -> Tensor:
        # Slightly inside: cutting to the ball must not move the point that ends the search.
        if self._left == 0 or bool((self._length <= float(self._threat.eps) * (1 - 1e-5)).all()):
            raise _Spent
        self._left -= 1
        answers = super().forward(x)
        # Queries of another size are samples of a gradient estimate, whose rows are not those of the batch.
        if len(x) == len(self._x):
            length = distance(x, self._x, self._threat.family)
            closer = (answers.argmax(1) != self._y) & (length < self._length)
            self.nearest = torch.where(per_row(closer, x), x.detach(), self.nearest)
            self._length = torch.where(closer, length, self._length)
        return answers


def _decided(
    method: Any,  # noqa: ANN401  (an attack of an untyped library)
    view: torch.nn.Module,
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    stream: Stream,
) -> Tensor:
    """Run a decision-based attack from misclassified points."""
    start, there = library.starting_points(view, x, y, stream, _TRIES)
    wrong = view(x).argmax(1) != y
    there &= ~wrong  # an image that is misclassified already needs no attack
    x_adv = x.clone()
    if bool(there.any()):
        _, found, _ = method(
            _model(view, x), x[there], y[there], epsilons=float(threat.eps), starting_points=start[there]
        )
        x_adv[there] = library.cut(found, x[there], threat)
    return x_adv


def _library() -> Any:  # noqa: ANN401
    return library.imported("foolbox", INSTALL)


def _kind(name: str) -> Any:  # noqa: ANN401  (a class of an untyped library)
    return getattr(_library().attacks, name)


def _model(view: torch.nn.Module, x: Tensor) -> Any:  # noqa: ANN401
    return _library().PyTorchModel(view, bounds=(0, 1), device=x.device)


def _require_distance(method: Any, threat: ThreatModel, name: str) -> None:  # noqa: ANN401
    family = _DISTANCES.get(str(method.distance).split(" ")[0].lower(), "")
    if family != threat.family:
        raise BenchError(f"foolbox:{name} is not defined for {threat}: it attacks {family or 'no norm of ours'}")
