"""`bench results list`, `verify` and `prune`: a results folder as a whole."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tabulate import tabulate

from bench import housekeeping
from bench.errors import BenchError

_MOST_SHOWN = 4


def list_(results: Path, as_json: bool) -> int:
    """Print the runs that filled a folder, a line each."""
    found = housekeeping.runs(_existing(results))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=1))
        return 0
    if not found:
        raise BenchError(f"no run in {str(results)!r}: fill it with 'bench run --results {results}'")
    lines = [
        (
            each.when[:19].replace("T", " ") or "before",
            each.cells,
            each.skipped,
            _short(each.defenses),
            _short(each.attacks),
            _short(each.threats),
            each.code,
        )
        for each in found
    ]
    print(tabulate(lines, ("UTC", "cells", "skipped", "defenses", "attacks", "threats", "code"), disable_numparse=True))
    return 0


def verify(results: Path) -> int:
    """Read every document; 1 where one is not as it was written."""
    wrong = housekeeping.damaged(_existing(results))
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(housekeeping.documents(results))} documents, {len(wrong)} damaged")
    return 1 if wrong else 0


def prune(results: Path, dry_run: bool) -> int:
    """Remove what no run asked for, and what dead writers left; nothing of either is ever read."""
    found = housekeeping.strays(_existing(results))
    for path in found:
        print(path)
        if not dry_run:
            path.unlink()
    print(f"{len(found)} files {'to remove' if dry_run else 'removed'}")
    return 0


def _existing(results: Path) -> Path:
    if not results.is_dir():
        raise BenchError(
            f"results folder {str(results)!r} does not exist: fill it with 'bench run --results {results}'"
        )
    return results


def _short(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
