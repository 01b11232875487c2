"""The shape of stored documents, held against what their records declare before anything is made of them.

A digest says that a document is as it was written, not that it was written well: by another program, by hand, or by a
version with a fault. Every value must have the type that its record declares, every number must be in range, and every
text must be printable by any stream. So whatever reads a document finds what it looks for, or never gets it. Fields
that no record declares are let through, because a later version may have more of them.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from bench.errors import BenchError
from bench.results.cell import Cell
from bench.results.finding import Finding
from bench.results.outcome import Component, Cost, Evidence, Verdicts
from bench.threats import ThreatModel

# Any number of these names is a count of at least one; the bounds are those of a run, and for images those of a claim.
_COUNTS: Mapping[str, int] = {"n": 10**7, "draws": 255, "batch": 2**16}
_MOST = 2**63 - 1
# A purifier before a purifier, a cascade of cascades: nothing of ours is nested deeper than two.
_DEEPEST = 8
_KEY = re.compile("[0-9a-f]{64}")
_PASSES = re.compile(r"\d{1,18}( \d{1,18})*|")

# Return what is wrong with a value, such as "cell.seed is 'x', not a whole number"; an empty text if nothing is.
Check = Callable[[Any, str, int], str]


@dataclasses.dataclass(frozen=True)
class _Key:
    """Marks a text that is the key of a cell: it becomes a part of file names."""


@dataclasses.dataclass(frozen=True)
class _Passes:
    """Marks a text of numbers, one per example."""


@dataclasses.dataclass(frozen=True)
class _Counts:
    draws: int
    clean: str
    adversarial: str


@dataclasses.dataclass(frozen=True)
class _Passed:
    components: tuple[tuple[str, Component], ...] = ()
    forwards: _Passes = dataclasses.field(default_factory=_Passes)
    backwards: _Passes = dataclasses.field(default_factory=_Passes)


@dataclasses.dataclass(frozen=True)
class _Provenance:
    seconds: float | None = None
    code: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _OfCell:
    key: _Key
    cell: Cell
    verdicts: _Counts
    cost: Cost
    evidence: Evidence = dataclasses.field(default_factory=Evidence)
    ledger: _Passed = dataclasses.field(default_factory=_Passed)
    provenance: _Provenance = dataclasses.field(default_factory=_Provenance)


@dataclasses.dataclass(frozen=True)
class _OfFailure:
    error: str


@dataclasses.dataclass(frozen=True)
class _OfFindings:
    key: str
    findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True)
class _OfExamples:
    examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Row:
    key: _Key
    cell: Cell
    skip: str | None
    parts: tuple[_Key, ...] = ()


@dataclasses.dataclass(frozen=True)
class _OfRun:
    cells: tuple[_Row, ...]
    when: str = ""
    code: str = ""


@dataclasses.dataclass(frozen=True)
class _OfAnswers:
    bytes: str
    mark: str
    answers: str


@dataclasses.dataclass(frozen=True)
class _OfPlan:
    key: str
    plan: Mapping[str, Any]


# The kind of a document, by a field that no other kind has.
_KINDS: Mapping[str, type] = {
    "verdicts": _OfCell,
    "error": _OfFailure,
    "findings": _OfFindings,
    "examples": _OfExamples,
    "cells": _OfRun,
    "answers": _OfAnswers,
    "plan": _OfPlan,
}


class Document(dict[str, Any]):
    """The content of a document; asked for a field that it lacks, it raises a BenchError with the name of its file."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        super().__init__(content)
        self._path = path

    def __missing__(self, name: str) -> Any:  # noqa: ANN401  (it never returns)
        raise damaged(self._path, f"it has no {name!r}")


def damaged(path: Path, why: str) -> BenchError:
    """Return the error for a document that does not hold what it should."""
    return BenchError(f"{str(path)!r} is damaged ({why}): restore it, or move it away and run again")


def shaped(content: Mapping[str, Any], path: Path) -> Document:
    """Return a document whose values have the types and ranges that its records declare.

    Raises:
        BenchError: one has not; the message names the file, the field and the value.
    """
    for mark, kind in _KINDS.items():
        if mark in content:
            wrong = _check_of(kind)(content, "", 0)
            if wrong:
                raise damaged(path, wrong)
    return Document(content, path)


def require_counts(verdicts: Verdicts, n: int, draws: int, path: Path) -> None:
    """Raise a BenchError unless the counts of a cell or shard of `n` examples can be what `draws` draws gave."""
    clean, adversarial = verdicts.clean, verdicts.adversarial
    if len(clean) != len(adversarial):
        raise damaged(path, f"it has {len(clean)} counts without attack and {len(adversarial)} under attack")
    # Fewer would be an accuracy of some images under the name of all.
    if len(clean) != n:
        raise damaged(path, f"it has {len(clean)} counts for {n} examples")
    if verdicts.draws != draws:
        raise damaged(path, f"it has counts of {verdicts.draws} draws, its cell asks for {draws}")
    if max(int(clean.max()), int(adversarial.max())) > verdicts.draws:
        raise damaged(path, f"a count is above its {verdicts.draws} draws")
    # Otherwise an example that is wrong without any attack would count as robust.
    if bool(np.any(adversarial[clean == 0])):
        raise damaged(path, "an example misclassified without attack is counted as robust")


@cache
def _check_of(hint: Any) -> Check:  # noqa: ANN401  (a type)
    """Return the check of a type; of a dataclass, that of its fields in a mapping."""
    origin = get_origin(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Literal:
        return _choice(get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return _optional(_check_of(next(each for each in get_args(hint) if each is not types.NoneType)))
    if origin is tuple:
        return _listed(get_args(hint))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_check_of(get_args(hint)[1]))
    return _record(hint)


def _record(kind: Any) -> Check:  # noqa: ANN401  (a dataclass)
    hints = get_type_hints(kind)
    missing = dataclasses.MISSING
    needed = {
        each.name for each in dataclasses.fields(kind) if each.default is missing and each.default_factory is missing
    }
    checks: dict[str, Check] = {}

    def check(value: Any, at: str, depth: int) -> str:  # noqa: ANN401
        if not isinstance(value, dict):
            return _not(value, at, "a table of fields")
        if depth > _DEEPEST:
            return f"{at} is nested too deeply"
        if not checks:  # filled only now, because a record may hold one of its own kind
            checks.update(
                (name, _count(_COUNTS[name]) if name in _COUNTS and hint is int else _check_of(hint))
                for name, hint in hints.items()
            )
        if not needed <= value.keys():
            return f"{at or 'it'} has no {min(needed - value.keys())!r}"
        for name, of in checks.items():
            if name in value:
                wrong = of(value[name], f"{at}.{name}" if at else name, depth + 1)
                if wrong:
                    return wrong
        return ""

    return check


def _listed(of: tuple[Any, ...]) -> Check:
    """Return the check of a list of one type, or of as many values as there are types."""
    if of[-1] is not Ellipsis:
        several = [_check_of(each) for each in of]

        def together(value: Any, at: str, depth: int) -> str:  # noqa: ANN401
            if not isinstance(value, list | tuple) or len(value) != len(several):
                return _not(value, at, f"a list of {len(several)}")
            told = (check(each, at, depth + 1) for check, each in zip(several, value, strict=True))
            return next(filter(None, told), "")

        return together
    of_each = _check_of(of[0])
    text = of[0] is str

    def each_of(value: Any, at: str, depth: int) -> str:  # noqa: ANN401
        if not isinstance(value, list | tuple):
            return _not(value, at, "a list")
        if text and set(map(type, value)) <= {str}:  # as many as there are images: all at once
            return _text("".join(value), at, depth)
        told = (of_each(each, f"{at}[{index}]", depth + 1) for index, each in enumerate(value))
        return next(filter(None, told), "")

    return each_of


def _mapping(of: Check) -> Check:
    def check(value: Any, at: str, depth: int) -> str:  # noqa: ANN401
        if not isinstance(value, dict):
            return _not(value, at, "a table")
        told = (_text(name, at, depth) or of(each, f"{at}.{name}", depth + 1) for name, each in value.items())
        return next(filter(None, told), "")

    return check


def _optional(of: Check) -> Check:
    return lambda value, at, depth: "" if value is None else of(value, at, depth)


def _choice(names: tuple[Any, ...]) -> Check:
    # `in` would compare a list, which no set takes, and take 1 for True.
    def check(value: Any, at: str, _: int) -> str:  # noqa: ANN401
        return "" if isinstance(value, str) and value in names else _not(value, at, f"one of {', '.join(names)}")

    return check


def _count(most: int) -> Check:
    def check(value: Any, at: str, depth: int) -> str:  # noqa: ANN401
        wrong = _whole(value, at, depth)
        return wrong or ("" if 1 <= value <= most else _not(value, at, f"from 1 to {most}"))

    return check


def _text(value: Any, at: str, _: int) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        return _not(value, at, "text")
    if value.isascii():
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return _not(value, at, "text that can be encoded")
    return ""


def _whole(value: Any, at: str, _: int) -> str:  # noqa: ANN401
    # bool is an int in Python.
    if not isinstance(value, int) or isinstance(value, bool):
        return _not(value, at, "a whole number")
    return "" if 0 <= value <= _MOST else _not(value, at, "from 0 to 2^63 - 1")


def _number(value: Any, at: str, _: int) -> str:  # noqa: ANN401
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _not(value, at, "a number")
    return "" if abs(value) <= _MOST and math.isfinite(value) and value >= 0 else _not(value, at, "finite from 0")


def _flag(value: Any, at: str, _: int) -> str:  # noqa: ANN401
    return "" if isinstance(value, bool) else _not(value, at, "true or false")


def _key(value: Any, at: str, _: int) -> str:  # noqa: ANN401
    return "" if isinstance(value, str) and _KEY.fullmatch(value) else _not(value, at, "the key of a cell")


def _passes(value: Any, at: str, _: int) -> str:  # noqa: ANN401
    return "" if isinstance(value, str) and _PASSES.fullmatch(value) else _not(value, at, "numbers between spaces")


@cache
def _parsed(text: str) -> str:
    try:
        ThreatModel.parse(text)
    except BenchError as error:
        return str(error)
    return ""


def _threat(value: Any, at: str, depth: int) -> str:  # noqa: ANN401
    wrong = _text(value, at, depth) or _parsed(value)
    return f"{at}: {wrong}" if wrong and not wrong.startswith(at) else wrong


def _anything(value: Any, at: str, depth: int) -> str:  # noqa: ANN401
    """Check the parameters of an attack: any plain data that can be printed."""
    if depth > 2 * _DEEPEST:
        return f"{at} is nested too deeply"
    if isinstance(value, dict):
        return _mapping(_anything)(value, at, depth)
    if isinstance(value, list):
        return next(filter(None, (_anything(each, at, depth + 1) for each in value)), "")
    if isinstance(value, str):
        return _text(value, at, depth)
    return "" if not isinstance(value, float) or math.isfinite(value) else _not(value, at, "finite")


def _not(value: object, at: str, wanted: str) -> str:
    # repr of a container may be as long as the document, and nested as deeply.
    shown = f"a {type(value).__name__}" if isinstance(value, dict | list | tuple) else f"{value!r:.60}"
    return f"{at or 'it'} is {shown}, not {wanted}"


_PLAIN: Mapping[Any, Check] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _flag,
    Any: _anything,
    ThreatModel: _threat,
    _Key: _key,
    _Passes: _passes,
}
