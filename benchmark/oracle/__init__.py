"""Everything an attack may touch: the oracle and its answers, random streams, Lp geometry.

What plug-ins import is named here, and imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Attack": "attack",
    "Traits": "attack",
    "Gradient": "answers",
    "Loss": "answers",
    "margin": "answers",
    "misclassified": "answers",
    "Oracle": "oracle",
    "Stream": "randomness",
}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from bench.oracle.answers import Gradient as Gradient
    from bench.oracle.answers import Loss as Loss
    from bench.oracle.answers import margin as margin
    from bench.oracle.answers import misclassified as misclassified
    from bench.oracle.attack import Attack as Attack
    from bench.oracle.attack import Traits as Traits
    from bench.oracle.oracle import Oracle as Oracle
    from bench.oracle.randomness import Stream as Stream


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
