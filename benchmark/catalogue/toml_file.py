"""TOML files that users write: studies and claims, read as text, with decimals as they are printed."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.errors import BenchError, brief
from bench.machine.reading import MOST_SETTINGS, toml_of

_PLACE = re.compile(r"\(at line (\d+), column \d+\)")


def read_toml(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: of the file.
        kind: what it should be, for errors: `study`.
        remedy: what to give instead, where there is no such file.

    Raises:
        BenchError: it cannot be read, is too large, or is no TOML; the message quotes the line.
    """
    name = f"{kind} {str(path)!r}"
    # Unlike those of `Path`, these take any text, and any folder above.
    if not os.path.exists(path):  # noqa: PTH110
        raise BenchError(f"{name} is not found: {remedy}")
    if not os.path.isfile(path):  # noqa: PTH113
        raise BenchError(f"{name} is no file: {remedy}")
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_SETTINGS else None
    except OSError as error:
        raise BenchError(f"{name} cannot be read ({error.strerror}): mend its permissions") from None
    if data is None:
        raise BenchError(f"{name} has more than {MOST_SETTINGS:,} bytes: a {kind} is a page of TOML")
    try:
        # With or without the byte order mark that Windows editors write.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{name} is not UTF-8 text at byte {error.start}: save it as UTF-8") from None
    try:
        return parse_toml(text)
    except BenchError as error:
        raise BenchError(f"{name} is {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        BenchError: it is no TOML; the message quotes the line.
    """
    try:
        return toml_of(text, Decimal)
    except (ValueError, ArithmeticError) as error:
        raise BenchError(f"not TOML: {error}{_quoted(str(error), text)}") from None


def _quoted(error: str, text: str) -> str:
    place, lines = _PLACE.search(error), text.replace("\r\n", "\n").split("\n")
    number = int(place[1]) if place else 0
    return f", {brief(lines[number - 1].strip())}" if 0 < number <= len(lines) else ""
