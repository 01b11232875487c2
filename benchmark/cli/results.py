"""The commands `bench results list`, `verify` and `prune`, about a results folder as a whole."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from bench import api
from bench.report.columns import draw_table, screen_width

_MOST_SHOWN = 4


def list_(results: Path, as_json: bool) -> int:
    """Print the runs that filled a folder, a line each."""
    found = api.runs(results)
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=1))
        return 0
    lines = [
        (
            # Runs of earlier versions have no time: "before" says that they are older than all others.
            each.when[:19].replace("T", " ") or "before",
            str(each.cells),
            str(each.skipped),
            _short(each.defenses),
            _short(each.attacks),
            _short(each.threats),
            each.code,
        )
        for each in found
    ]
    header = ("UTC", "cells", "skipped", "defenses", "attacks", "threats", "code")
    print(draw_table(header, lines, screen_width(), text=(3, 4, 5)))
    return 0


def verify(results: Path) -> int:
    """Read every document; return 1 if one is not as it was written."""
    documents, wrong = api.verify(results)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{documents} documents, {len(wrong)} damaged")
    return 1 if wrong else 0


def prune(results: Path, dry_run: bool) -> int:
    """Remove documents that no run names, and leftovers of dead runs; nothing ever reads either."""
    found = api.prune(results, dry_run=dry_run)
    for path in found:
        print(path)
    print(f"{len(found)} files {'to remove' if dry_run else 'removed'}")
    return 0


def _short(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
