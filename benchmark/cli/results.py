"""The commands `bench results list`, `verify`, `prune` and `merge`, about results folders as a whole."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path

from bench import api
from bench.report.columns import draw_table, prose, screen_width
from bench.report.plain import flat, json_text

_MOST_SHOWN = 4


def list_(results: Path, as_json: bool) -> int:
    """Print the runs that filled a folder, a line each."""
    found = api.runs(results)
    if as_json:
        print(json_text([asdict(each) for each in found]))
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


def merge(folders: list[Path], into: Path) -> int:
    """Merge folders, and print what came of it, what is missing, and the command that comes next."""
    found = api.merge(*folders, into=into)
    width = screen_width()
    for line in found.mixed:
        print(prose(f"note: shards of one cell were computed by different code: {flat(line)}", width))
    for path in found.others:
        print(prose(f"note: {path!r} is none of ours, and was not copied", width))
    names = ", ".join(flat(str(folder)) for folder in dict.fromkeys(folders))
    print(prose(f"merged       {names} into {flat(str(into))}{os.sep}", width))
    print(prose(f"files        {found.copied} copied, {found.kept} were there already", width))
    left = [f"{found.open} lack shards"] if found.open else []
    left += [f"{found.alarmed} need shards again, because another raised an alarm"] if found.alarmed else []
    told = ", ".join([f"{found.cells} finished", f"{found.joined} of them now, from shards", *left])
    print(prose(f"cells        {told}", width))
    print(
        prose(
            f"next         the command of the run without --shard, with --results {shlex.quote(str(into))}: "
            "it computes what is missing, checks everything and prints the table",
            width,
        )
    )
    return 0


def _short(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
