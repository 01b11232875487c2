"""The commands that compare two defenses, and attacks."""

from __future__ import annotations

from pathlib import Path

from bench import api
from bench.api.results import Results
from bench.cli.report import require_style
from bench.errors import BenchError
from bench.report.columns import PAGE, screen_width
from bench.report.plain import json_text


def require_pair(**options: object) -> None:
    """Raise a BenchError unless two different defenses are named, or one and another folder."""
    require_style(str(options["format"]))
    if options["baseline"] is None and options["b"] in ("", options["a"]):
        raise BenchError(
            f"{options['a']!r} cannot be compared with itself: bench compare A B, or bench compare A --with FOLDER"
        )
    other, folder = options["baseline"], options["results"]
    same = (
        isinstance(other, Path) and isinstance(folder, Path) and other.exists() and other.resolve() == folder.resolve()
    )
    if same and options["b"] in ("", options["a"]):
        raise BenchError(f"--with and --results are both {str(folder)!r}, where {options['a']!r} is itself: name two")


def compare(results: Results, a: str, b: str, other: Results | None, style: str, *, as_json: bool = False) -> int:
    """Print the comparison of two defenses."""
    found = api.compare(results, a, b, other=other)
    if as_json:
        print(json_text(found.to_json()))
    else:
        print(found.table(style, width=screen_width(PAGE)))
    return 0


def attacks(results: Results, style: str, *, as_json: bool = False) -> int:
    """Print the comparison of the attacks."""
    found = api.compare_attacks(results)
    if as_json:
        print(json_text(found.to_json()))
    else:
        print(found.table(style, width=screen_width(PAGE)))
    return 0
