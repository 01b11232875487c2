"""The provenance of a cell that several runs made: on several machines, or before and after an update.

Each shard tells its own versions, code and seconds. A cell that is finished from them tells all of them, in text, so
that a reader that expects one version still reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Between the states of one part of the code in one cell. No digest and no version holds a space.
BETWEEN = " and "
UNKNOWN = "unknown"
_NOT_JOINED = ("code", "seconds", "seal")


def together(made: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the provenance of a cell from those of its shards, in order.

    Seconds are summed, and left out where a shard does not know its own: a part of them would look cheaper than it was.
    Everything else is the value of all shards, or all values with `BETWEEN` between them. Shards of versions that
    recorded nothing are `UNKNOWN`; where no shard knows anything, the result is empty.
    """
    if not any(made):
        return {}
    told: dict[str, Any] = {}
    codes = [each.get("code", {}) for each in made]
    if any(codes):
        told["code"] = {part: _joined(codes, part) for part in _names(codes)}
    told |= {name: _joined(made, name) for name in _names(made) if name not in _NOT_JOINED}
    took = [each.get("seconds") for each in made]
    if None not in took:
        told["seconds"] = round(sum(float(each) for each in took if each is not None), 2)
    return told


def states(value: str) -> list[str]:
    """Return the states that a value names: one, unless shards of one cell were made by several."""
    return value.split(BETWEEN)


def code_of(made: Mapping[str, Any]) -> dict[str, str]:
    """Return the code that made a cell, by part: digests of ours and the version of torch, as far as known."""
    told = {str(part): str(code) for part, code in made.get("code", {}).items()}
    return told | ({"torch": str(made["torch"])} if "torch" in made else {})


def several(made: Mapping[str, Any]) -> list[str]:
    """Return the parts of the code of which one cell was made by several states: `torch 2.12 and 2.13`."""
    return [f"{part} {code}" for part, code in code_of(made).items() if len(states(code)) > 1]


def _names(made: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in made for name in each))


def _joined(made: Sequence[Mapping[str, Any]], name: str) -> str:
    # A cell that was joined once may be a part of another's story: its states count one by one.
    found = {state for each in made for state in states(str(each.get(name, UNKNOWN)))}
    # Sorted, so that it does not matter which machine came first.
    return BETWEEN.join(sorted(found))
