"""Reads a claim from a TOML file; decimals are kept as they were printed: 70.10 is no 70.1."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bench.audit.claim import AttackNumber, Claim, ClaimedProtocol, ClassifierAlone, Comparison, decimals
from bench.errors import BenchError, unknown
from bench.types import ThreatModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 1 << 20
MOST_EXAMPLES = 10**7
MOST_DECIMALS = 6

_HOME: dict[type[Any], str] = {
    Claim: "a claim",
    ClaimedProtocol: "[protocol]",
    Comparison: "[comparison]",
    ClassifierAlone: "[classifier]",
    AttackNumber: "[[numbers]]",
}

T = TypeVar("T")


def read_claim(path: Path) -> Claim:
    """The claim in a TOML file.

    Raises:
        BenchError: no such file, no TOML, an unknown or missing key, a value of the wrong type or range.
    """
    if not path.is_file():
        raise BenchError(f"claim {str(path)!r} is no file: give a TOML file as described in docs/claims.md")
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise BenchError(f"claim {str(path)!r} cannot be read: {error.strerror}") from None
    if data is None:
        raise BenchError(f"claim {str(path)!r} has more than {MOST_BYTES:,} bytes: a claim is a page of TOML")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"claim {str(path)!r} is not UTF-8 text at byte {error.start}") from None
    try:
        return parse_claim(text)
    except BenchError as error:
        raise BenchError(f"claim {str(path)!r}: {error}") from None


def parse_claim(text: str) -> Claim:
    """The claim in some TOML text.

    Raises:
        BenchError: as `read_claim`.
    """
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except RecursionError:
        raise BenchError("not TOML of a claim: nested too deeply") from None
    except (ValueError, ArithmeticError) as error:
        raise BenchError(f"not TOML: {error}") from None
    return _record(Claim, table)


def _record(kind: type[T], table: Mapping[str, object]) -> T:
    """A dataclass from a table: its field names are the keys, its type hints say what is allowed."""
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
    """TOML gives every key to the table above it, so a key may be right and its place wrong."""
    for kind, name in _HOME.items():
        if key in get_type_hints(kind):
            where = f"above the first [table], for it belongs to {name}" if kind is Claim else f"below {name}"
            return BenchError(f"{home} has no key {key!r}: write it {where}")
    return unknown(f"key of {home}", key, hints)


def _value(key: str, value: object, hint: Any) -> Any:  # noqa: ANN401  (both follow the field's own type)
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and hint in _HOME:
        if not isinstance(value, dict):
            raise BenchError(f"{key} = {_shown(value)} is no table: write [{key}] and its keys below")
        return _record(hint, value)
    if hint is ThreatModel:
        return ThreatModel.parse(_text(key, value))
    if hint is Decimal:
        return _accuracy(key, value)
    if hint is int:
        return _count(key, value)
    if hint is bool:
        if not isinstance(value, bool):
            raise BenchError(f"{key} = {_shown(value)} is no truth value: write {key} = true or {key} = false")
        return value
    if get_origin(hint) is Literal:
        return _choice(key, value, get_args(hint))
    if get_origin(hint) is tuple:
        return _several(key, value, get_args(hint)[0])
    return _text(key, value)


def _several(key: str, value: object, of: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if get_origin(of) is Literal:
        if not isinstance(value, list):
            raise BenchError(f'{key} = {_shown(value)} is no list: write {key} = ["{get_args(of)[0]}"]')
        return tuple(_choice(key, item, get_args(of)) for item in value)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BenchError(f"{key} = {_shown(value)} is no list of tables: write [[{key}]] and its keys below")
    return tuple(_record(of, item) for item in value)


def _choice(key: str, value: object, choices: tuple[str, ...]) -> str:
    text = _text(key, value)
    if text not in choices:
        raise BenchError(f"{key} = {_shown(value)} is unknown: give one of {', '.join(choices)}")
    return text


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BenchError(f'{key} = {_shown(value)} is no text: write {key} = "..."')
    # On one line, and without what a terminal would obey.
    text = "".join(sign for sign in " ".join(value.split()) if sign.isprintable())
    if not text:
        raise BenchError(f"{key} is empty: leave it out where it is not stated")
    return text


def _count(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BenchError(f"{key} = {_shown(value)} is no whole number: write {key} = 512, say")
    if not 1 <= value <= MOST_EXAMPLES:
        raise BenchError(f"{key} = {_shown(value)} is out of range: it must be from 1 to {MOST_EXAMPLES:,}")
    return value


def _accuracy(key: str, value: object) -> Decimal:
    """Percent as printed: a string, an integer or a decimal number, its trailing zeros kept."""
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise BenchError(f"{key} = {_shown(value)} is no accuracy: write percent as printed, such as 72.85")
    try:
        accuracy = Decimal(value)
    except InvalidOperation:
        accuracy = Decimal("nan")
    if not accuracy.is_finite() or not 0 <= accuracy <= 100:
        raise BenchError(f"{key} = {_shown(value)} is no accuracy: write percent from 0 to 100, such as 72.85")
    digits = decimals(accuracy)
    if digits > MOST_DECIMALS:
        raise BenchError(f"{key} = {_shown(value)} has {digits} decimals: write at most {MOST_DECIMALS}")
    if 0 < accuracy < 1 and digits > 2:
        raise BenchError(f"{key} = {_shown(value)} looks like a share: write percent, such as {100 * accuracy:.2f}")
    return abs(accuracy.quantize(Decimal(1).scaleb(-digits)))


def _shown(value: object) -> str:
    """A value in a message: short, on one line."""
    try:
        text = repr(value) if isinstance(value, str) else str(value)
    except ValueError:  # an integer too long to print
        text = "a very long number"
    return text if len(text) <= 40 else f"{text[:37]}..."
