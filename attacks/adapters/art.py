"""Attacks of the Adversarial Robustness Toolbox (Nicolae et al., 2018, arXiv:1807.01069) by their names there."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks.adapters import library
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

INSTALL = "pip install 'atop-bench[art]'"

_RESERVED = ("self", "estimator", "classifier", "norm", "eps", "targeted", "summary_writer", "verbose", "random_eps")
_ORDERS = {"Linf": math.inf, "L2": 2, "L1": 1}


def parameters(name: str) -> dict[str, Any]:
    """Return the parameters of an attack that a user may set: `(type, default)` by name."""
    return library.settable(_kind(name).__init__, _RESERVED)


@dataclass(frozen=True)
class ART:
    """An attack of ART with its own defaults; its step size keeps its share of eps.

    ART computes in numpy: images go to the CPU and back once per call of the attack, while the defense
    computes on its own device.

    Attributes:
        name: of a class in `art.attacks.evasion`.
        parameters: of its constructor; `eps_step` is absolute, as in ART.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        kind = _kind(self.name)
        there = inspect.signature(kind.__init__).parameters
        with library.session(stream, "art"):
            view = library.view_of(oracle, x, y)
            estimator = _estimators().PyTorchClassifier(
                view,
                loss=nn.CrossEntropyLoss(),
                input_shape=tuple(x.shape[1:]),
                nb_classes=library.classes_of(oracle, x, view),
                clip_values=(0.0, 1.0),
                device_type="gpu" if x.is_cuda else "cpu",
            )
            given = {**_set_by_harness(there, threat, len(x)), **self.parameters}
            found = kind(estimator, **given).generate(x=x.cpu().numpy(), y=y.cpu().numpy())
        return library.cut(torch.from_numpy(found), x, threat)


def _set_by_harness(there: Mapping[str, inspect.Parameter], threat: ThreatModel, size: int) -> dict[str, Any]:
    """Return the arguments that the threat model and the shard determine."""
    eps = float(threat.eps)
    given = {"norm": _ORDERS[threat.family], "eps": eps, "batch_size": size, "targeted": False, "verbose": False}
    if "eps_step" in there:
        # ART's default step belongs to its default eps: unscaled it may be longer than the whole radius.
        given["eps_step"] = eps * there["eps_step"].default / there["eps"].default
    return {name: value for name, value in given.items() if name in there}


def _kind(name: str) -> Any:  # noqa: ANN401  (a class of an untyped library)
    return getattr(library.imported("art.attacks.evasion", INSTALL), name)


def _estimators() -> Any:  # noqa: ANN401
    return library.imported("art.estimators.classification", INSTALL)
