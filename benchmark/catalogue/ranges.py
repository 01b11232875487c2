"""Ranges of the numbers a user may set of an attack, for our attacks and those of other libraries.

An attack that cannot move breaks nothing, and a defense that nothing broke looks robust. So a step must not be 0
or negative, a loop must have a round, and infinity and NaN are refused. The default tells the range: a parameter with
a positive default must be positive, and an integer at least 1; a default of 0 means "the attack chooses" or "none",
so the parameter may stay 0 or be raised.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from bench.errors import BenchError, brief

# Shares and decays: above 1 they make no sense.
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

# No attack of ours takes more than 10,000 rounds of anything; a thousand times that is a slip of the hand, which would
# never end.
_MOST_ROUNDS = 10**7


# In units of eps: a longer step jumps over the ball to and fro, and the attack stays as weak as its start.
_LONGEST_STEP = 2


def require(name: str, key: str, value: object, default: object) -> None:
    """Raise a BenchError unless the attack can move with this value of a parameter.

    Args:
        name: of the attack.
        key: of the parameter.
        value: the value, already converted to its type.
        default: the value if nobody sets it; `None` if the attack computes it.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    wrong = _wrong(key, value, default)
    # Those of other libraries, and of L0, whose eps is a number of pixels, have units of their own.
    in_eps = ":" not in name and not (isinstance(default, float) and default > _LONGEST_STEP)
    if not wrong and key == "step_size" and in_eps and value > _LONGEST_STEP:
        wrong = f"is in units of eps and must be at most {_LONGEST_STEP}"
    if wrong:
        usual = "" if default is None else f"; it is {default} where it is left out"
        raise BenchError(f"{name}[{key}={value}]: {key} {wrong}, or the attack could not attack{usual}")


def require_fields(attack: object, name: str) -> None:
    """Raise a BenchError unless every parameter of an attack of ours, handed over as an object, is in its range."""
    if not dataclasses.is_dataclass(attack) or not type(attack).__module__.startswith("bench.attacks."):
        return
    for field in dataclasses.fields(attack):
        value = getattr(attack, field.name)
        fits = _TYPES.get(str(field.type))
        if fits is not None and (not isinstance(value, fits) or isinstance(value, bool) != (fits is bool)):
            raise BenchError(
                f"{name}: {field.name}={brief(value)} is {type(value).__name__}: give {_SPELLED[str(field.type)]}"
            )
        require(name, field.name, value, None if field.default is dataclasses.MISSING else field.default)


_TYPES: Mapping[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "str": str}
_SPELLED: Mapping[str, str] = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "text"}


def _wrong(key: str, value: float, default: object) -> str:
    if not math.isfinite(value):
        return "must be a finite number"
    most = _AT_MOST.get(key, _MOST_ROUNDS if isinstance(value, int) else None)
    if most is not None and value > most:
        return f"must be at most {most:,}"
    # A default of None is computed by the attack and never 0, so it counts as positive.
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
