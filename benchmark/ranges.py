"""What a number may be that somebody sets of an attack: one place for ours and those of other libraries.

An attack that cannot move breaks nothing, and a defense that nothing broke looks robust: no step of size 0, none
backwards, no loop of no rounds, no number that is none. What a parameter is for is told by its default: one that is
positive has to be positive, a count of rounds is one at least; 0 stands for a choice of the attack's own or for
nothing of something, and may be kept or raised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.errors import BenchError

# Shares and decays, which nothing above 1 makes sense for.
_AT_MOST: Mapping[str, float] = {
    "momentum": 1,
    "p_init": 1,
    "rho": 1,
    "alpha_max": 1,
    "begin": 1,
    "density": 1,
    "share": 1,
    "quantile": 1,
    "decrease_factor": 1,
}


def require(name: str, key: str, value: object, default: object) -> None:
    """Raise a BenchError unless a parameter's value is one that lets the attack move.

    Args:
        name: of the attack.
        key: of the parameter.
        value: as it was typed, in its type.
        default: what it is where nobody sets it; `None` where that is worked out by the attack.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    wrong = _wrong(key, value, default)
    if wrong:
        usual = "" if default is None else f"; it is {default} where it is left out"
        raise BenchError(f"{name}[{key}={value}]: {key} {wrong}, or the attack could not attack{usual}")


def _wrong(key: str, value: float, default: object) -> str:
    if not math.isfinite(value):
        return "must be a finite number"
    most = _AT_MOST.get(key)
    if most is not None and value > most:
        return f"must be at most {most}"
    may_be_none = isinstance(default, int | float) and default == 0
    if value < 0 or (value == 0 and not may_be_none):
        return (
            "must be at least 0"
            if may_be_none
            else "must be at least 1"
            if isinstance(value, int)
            else "must be above 0"
        )
    return ""
