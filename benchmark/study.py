"""Studies: TOML files that fix what a run compares, ours in `studies/` or a user's own.

    title = "What each rung of knowledge takes away"
    defenses = "ap,atop"        # and attacks, dataset, threat, n, seed, draws: as the options of bench run
    beside = ["base"]           # variants of each defense to measure as a control
    [[rungs]]                   # attacks in order of strength, compared with the one before
    name = "blind"
    attack = "blind"

An option on the command line outranks the file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError, unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "studies"

_TEXTS = ("defenses", "attacks", "dataset", "threat", "eps")
_NUMBERS = ("n", "seed", "draws")
_BESIDE = ("base",)
_KEYS = ("title", "rungs", "beside", *_TEXTS, *_NUMBERS)


@dataclass(frozen=True)
class Rung:
    """A step of a ladder: what the attacker knows by then, and the attack that knows it."""

    name: str
    attack: str


@dataclass(frozen=True)
class Study:
    """What a run compares.

    Attributes:
        title: for the head of its report.
        options: what it fixes of the options of `bench run`.
        rungs: attacks in order of strength; empty for a plain matrix.
        beside: variants of each defense measured as a control, under the strongest deterministic rung.
    """

    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    beside: tuple[str, ...] = ()


def names() -> list[str]:
    """The studies that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> Study:
    """A study by name, or from a file whose name ends in `.toml`.

    Raises:
        BenchError: no such study, not TOML, or a key or value that makes no sense.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise unknown("study", name, names())
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(
            f"study {name!r} cannot be read ({error.strerror}): pass a TOML file or one of ours"
        ) from error
    except ValueError as error:
        raise BenchError(f"study {name!r} is not TOML: {error}") from error
    for key in data:
        if key not in _KEYS:
            raise unknown(f"key of study {name!r}", key, _KEYS)
    options = {key: _of_type(name, key, data[key], str) for key in _TEXTS if key in data}
    options |= {key: _of_type(name, key, data[key], int) for key in _NUMBERS if key in data}
    rungs = tuple(_rung(name, row) for row in _of_type(name, "rungs", data.get("rungs", []), list))
    if rungs:
        if "attacks" in options:
            raise BenchError(f"study {name!r} has both attacks and rungs: the rungs name the attacks")
        options["attacks"] = ",".join(rung.attack for rung in rungs)
    beside = tuple(_of_type(name, "beside", data.get("beside", []), list))
    for variant in beside:
        if variant not in _BESIDE:
            raise unknown(f"control in study {name!r}", str(variant), _BESIDE)
    return Study(_of_type(name, "title", data.get("title", path.stem), str), options, rungs, beside)


def _rung(name: str, row: object) -> Rung:
    if not isinstance(row, dict) or set(row) != {"name", "attack"}:
        raise BenchError(f"study {name!r}: a rung has a name and an attack, this one is {row!r}")
    return Rung(_of_type(name, "name", row["name"], str), _of_type(name, "attack", row["attack"], str))


def _of_type(name: str, key: str, value: Any, kind: type) -> Any:  # noqa: ANN401  (checked here)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BenchError(f"study {name!r}: {key} = {value!r} must be {_SPELLED[kind]}")
    return value


_SPELLED = {str: "text", int: "a whole number", list: "a list"}
