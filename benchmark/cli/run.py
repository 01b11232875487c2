"""The command `bench run`, which prints the table or the report of a study, and where the verdicts are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from bench import api
from bench.api.results import Results
from bench.catalogue.options import DEFAULT_RESULTS, settled
from bench.cli.interruption import keeping, typed
from bench.report.columns import PAGE, prose, screen_width
from bench.report.live.progress import Progress
from bench.report.outputs import require_files


def run(csv: Path | None, **options: Any) -> int:  # noqa: ANN401  (the fields of `RunOptions`)
    """Compute missing cells and print the table, or the report of a study; return 3 if a cell failed."""
    folder = settled(options).results
    require_files({"--csv": csv}, [folder])  # before anything is computed
    progress = Progress()
    with keeping(lambda: _kept(progress, folder)), progress:
        results = api.run(progress, **options)
    if csv is not None:  # before anything is printed: the reader of our output may leave
        results.to_csv(csv)
    print(results.summary(width=screen_width(PAGE)))
    if csv is not None:
        print(f"leaderboard  {csv}")
    print(f"verdicts     {folder}{os.sep}   (the same command resumes)")
    print(f"the table    {_table_of(folder)}")
    return _status(results)


def plan(**options: Any) -> int:  # noqa: ANN401  (the fields of `RunOptions`)
    """Print what a run would compute, and about how long it would take."""
    with Progress() as progress:
        found = api.plan(progress, **options)
    print(prose(str(found), screen_width()))
    return 0


def _kept(progress: Progress, folder: Path) -> str:
    """Return how many cells of a run are finished, and where they are stored."""
    done, begun = api.finished(folder, progress.cells)
    parts = f" and the finished shards of {begun} more" if begun else ""
    done, cells = done + progress.stored, len(progress.cells) + progress.stored
    return f"{done} of {cells} cells finished{parts}: stored in {folder}{os.sep}"


def _table_of(results: Path) -> str:
    """Return the command that prints the table again."""
    where = [] if results == DEFAULT_RESULTS else ["--results", str(results)]
    return typed("table", *where)


def _status(results: Results) -> int:
    for cell, error in results.failed:
        print(prose(f"FAIL {cell.title}: {error}", screen_width()), file=sys.stderr)
    return 3 if results.failed or any(each.outcome is None and each.blocked for each in results) else 0
