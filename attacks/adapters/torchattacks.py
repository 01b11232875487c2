"""Attacks of torchattacks (Kim, 2020, arXiv:2010.01950) by their names there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from bench import _compat
from bench.attacks.adapters import library
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

# With its dependencies pip would downgrade `requests` by four years.
INSTALL = "pip install --no-deps torchattacks, then pip install --no-deps --force-reinstall robustbench"

_RESERVED = ("self", "model", "eps", "max_epsilon", "norm", "seed", "verbose", "n_classes")
# Real numbers whose defaults are written as whole ones.
_REAL = ("c", "kappa", "decay", "scale", "lam", "amplification", "momentum")


def parameters(name: str) -> dict[str, Any]:
    """Return the parameters of an attack that a user may set: `(type, default)` by name."""
    return library.settable(_kind(name).__init__, _RESERVED, _REAL)


@dataclass(frozen=True)
class Torchattacks:
    """An attack of torchattacks with its own defaults; its step size keeps its share of eps.

    Attributes:
        name: of a class in `torchattacks`.
        parameters: of its constructor; `alpha` is absolute, as in torchattacks.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        kind = _kind(self.name)
        with library.session(stream, "torchattacks") as seed:
            view = library.view_of(oracle, x, y)
            there = inspect.signature(kind.__init__).parameters
            given = _set_by_harness(there, threat, seed)
            if "n_classes" in there:
                given["n_classes"] = library.classes_of(oracle, x, view)
            x_adv = kind(view, **{**given, **self.parameters})(x, y)
        return library.cut(x_adv, x, threat)


def _set_by_harness(there: Mapping[str, inspect.Parameter], threat: ThreatModel, seed: int) -> dict[str, Any]:
    """Return the arguments that the threat model and the examples determine."""
    eps = float(threat.eps)
    given: dict[str, Any] = {"norm": threat.family, "seed": seed} if "norm" in there else {}
    for name in ("eps", "max_epsilon"):
        if name in there:
            given[name] = eps
            if "alpha" in there:
                # The default step belongs to the default eps: unscaled it may be longer than the whole radius.
                given["alpha"] = there["alpha"].default * eps / there[name].default
    return given


def _kind(name: str) -> Any:  # noqa: ANN401  (a class of an untyped library)
    _compat.torchvision()
    return getattr(library.imported("torchattacks", INSTALL), name)
