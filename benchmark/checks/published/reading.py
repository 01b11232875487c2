"""Reading of a claim from a TOML file; decimals are kept as printed: 70.10 is not 70.1."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bench.catalogue.percentages import as_printed, shown
from bench.catalogue.toml_file import parse_toml, read_toml
from bench.checks.published.claim import (
    AttackNumber,
    ClaimedProtocol,
    ClassifierAlone,
    PublishedClaim,
    PublishedComparison,
)
from bench.errors import BenchError, unknown
from bench.threats import ThreatModel

# A limit that no honest claim reaches.
MOST_EXAMPLES = 10**7

_HOME: dict[type[Any], str] = {
    PublishedClaim: "a claim",
    ClaimedProtocol: "[protocol]",
    PublishedComparison: "[comparison]",
    ClassifierAlone: "[classifier]",
    AttackNumber: "[[numbers]]",
}

T = TypeVar("T")


def read_claim(path: Path) -> PublishedClaim:
    """Read a claim from a TOML file.

    Raises:
        BenchError: no such file, no TOML, an unknown or missing key, a value of the wrong type or range.
    """
    table = read_toml(path, "claim", "give a TOML file as described in docs/claims.md")
    try:
        return _record(PublishedClaim, table)
    except BenchError as error:
        raise BenchError(f"claim {str(path)!r}: {error}") from None


def parse_claim(text: str) -> PublishedClaim:
    """Parse a claim from TOML text.

    Raises:
        BenchError: as `read_claim`.
    """
    return _record(PublishedClaim, parse_toml(text))


def _record(kind: type[T], table: Mapping[str, object]) -> T:
    """Build a dataclass from a table: its field names are the keys, and its type hints the allowed values."""
    hints = get_type_hints(kind)
    home = _HOME[kind]
    for key in table:
        if key not in hints:
            raise _misplaced(key, home, hints)
    values = {key: _value(key, value, hints[key]) for key, value in table.items()}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]  # every T here is a dataclass
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and item.name not in values:
            raise BenchError(f"{home} has no {item.name!r}: it is required")
    return kind(**values)


def _misplaced(key: str, home: str, hints: Mapping[str, object]) -> BenchError:
    """Return the error for a misplaced key: TOML gives a key to the table above it, perhaps the wrong one."""
    for kind, name in _HOME.items():
        if key in get_type_hints(kind):
            where = f"above the first [table], for it belongs to {name}" if kind is PublishedClaim else f"below {name}"
            return BenchError(f"{home} has no key {key!r}: write it {where}")
    return unknown(f"key of {home}", key, hints)


def _value(key: str, value: object, hint: Any) -> Any:  # noqa: ANN401  (both follow the field's own type)
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and hint in _HOME:
        if not isinstance(value, dict):
            raise BenchError(f"{key} = {shown(value)} is no table: write [{key}] and its keys below")
        return _record(hint, value)
    if hint is ThreatModel:
        return ThreatModel.parse(_text(key, value))
    if hint is Decimal:
        return as_printed(key, value)
    if hint is int:
        return _count(key, value)
    if hint is bool:
        if not isinstance(value, bool):
            raise BenchError(f"{key} = {shown(value)} is no truth value: write {key} = true or {key} = false")
        return value
    if get_origin(hint) is Literal:
        return _choice(key, value, get_args(hint))
    if get_origin(hint) is tuple:
        return _several(key, value, get_args(hint)[0])
    return _text(key, value)


def _several(key: str, value: object, of: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if get_origin(of) is Literal:
        if not isinstance(value, list):
            raise BenchError(f'{key} = {shown(value)} is no list: write {key} = ["{get_args(of)[0]}"]')
        return tuple(_choice(key, item, get_args(of)) for item in value)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BenchError(f"{key} = {shown(value)} is no list of tables: write [[{key}]] and its keys below")
    return tuple(_record(of, item) for item in value)


def _choice(key: str, value: object, choices: tuple[str, ...]) -> str:
    text = _text(key, value)
    if text not in choices:
        raise BenchError(f"{key} = {shown(value)} is unknown: give one of {', '.join(choices)}")
    return text


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BenchError(f'{key} = {shown(value)} is no text: write {key} = "..."')
    # On one line, and without control characters, which a terminal would obey.
    text = "".join(sign for sign in " ".join(value.split()) if sign.isprintable())
    if not text:
        raise BenchError(f"{key} is empty: leave it out where it is not stated")
    return text


def _count(key: str, value: object) -> int:
    # In Python a bool is an int, too.
    if not isinstance(value, int) or isinstance(value, bool):
        raise BenchError(f"{key} = {shown(value)} is no whole number: write {key} = 512, say")
    if not 1 <= value <= MOST_EXAMPLES:
        raise BenchError(f"{key} = {shown(value)} is out of range: it must be from 1 to {MOST_EXAMPLES:,}")
    return value
