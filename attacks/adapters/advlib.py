"""Attacks of adv-lib (Rony and Ben Ayed, Zenodo 5815063) by their names there."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import Tensor

from bench import _compat
from bench.attacks.adapters import library
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

# Without dependencies: visdom, a plotting server that no attack needs, does not build on Python 3.11 and below.
INSTALL = "pip install --no-deps adv-lib"

_RESERVED = (
    *("model", "inputs", "labels", "targeted", "norm", "distance"),
    *("callback", "return_unsuccessful", "return_targets", "proximal_operator"),
)
# The parameters by which each attack receives the norm and eps; the other attacks have one norm, or minimize it.
_NORMS = dict.fromkeys(("apgd", "apgd_targeted", "df", "fab", "fmn", "pdpgd"), "norm") | {"tr": "p"}
_BOUNDS = {"apgd": "eps", "apgd_targeted": "eps", "fab": "epsilon", "pgd_linf": "epsilon"}
_ORDERS = {"Linf": math.inf, "L2": 2, "L1": 1}
_DISTANCES = {"L2": "l2", "L1": "l1"}


def parameters(name: str) -> dict[str, Any]:
    """Return the parameters of an attack that a user may set: `(type, default)` by name, Greek letters spelled out."""
    reserved = {*_RESERVED, _NORMS.get(name, "norm"), "\u03b5"} | ({_BOUNDS[name]} if name in _BOUNDS else set())
    return library.settable(_function(name), reserved)


@dataclass(frozen=True)
class AdvLib:
    """An attack of adv-lib with its own defaults; minimum-norm attacks run without a bound.

    Attributes:
        name: of a function in `adv_lib.attacks`.
        parameters: of that function, with Greek letters spelled out: `alpha_init`.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        function = _function(self.name)
        given: dict[str, Any] = dict(self.parameters)
        if self.name in _NORMS:
            given[_NORMS[self.name]] = _ORDERS[threat.family]
        if self.name in _BOUNDS:
            given[_BOUNDS[self.name]] = float(threat.eps)
        if "distance" in inspect.signature(function).parameters:
            given["distance"] = _DISTANCES[threat.family]
        with library.session(stream, "adv-lib"):
            view = library.view_of(oracle, x, y)
            if "num_targets" in given:  # with fewer classes it would fail on targets that do not exist
                given["num_targets"] = min(given["num_targets"], library.classes_of(oracle, x, view) - 1)
            x_adv = function(view, x, y, **library.unspelled(function, given))
        return library.cut(x_adv, x, threat)


def _function(name: str) -> Any:  # noqa: ANN401  (a function of an untyped library)
    _compat.torchvision()
    # adv-lib imports visdom for plots alone: where it is not installed, an empty module stands in during the import.
    absent = "visdom" not in sys.modules and importlib.util.find_spec("visdom") is None
    if absent and "adv_lib.attacks" not in sys.modules:
        stand_in: Any = ModuleType("visdom")
        stand_in.Visdom = object
        sys.modules["visdom"] = stand_in
    try:
        return getattr(library.imported("adv_lib.attacks", INSTALL), name)
    finally:
        if absent:  # other libraries test for visdom to decide whether to use it
            sys.modules.pop("visdom", None)
