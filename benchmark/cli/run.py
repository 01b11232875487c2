"""The command `bench run`, which prints the table or the report of a study, and where the verdicts are."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import api
from bench.api.results import Results
from bench.catalogue.options import DEFAULT_RESULTS, settled, variable
from bench.cli.interruption import keeping, typed
from bench.errors import BenchError
from bench.report.columns import PAGE, prose, screen_width
from bench.report.live.progress import Progress
from bench.report.outputs import require_files


def run(csv: Path | None, **options: Any) -> int:  # noqa: ANN401  (the fields of `RunOptions`)
    """Compute missing cells and print the table, or the report of a study; return 3 if a cell failed."""
    chosen = settled(options)
    folder = chosen.results
    require_files({"--csv": csv}, [folder])  # before anything is computed
    if chosen.shard:
        if csv is not None:
            raise BenchError(
                f"--csv {str(csv)!r} with --shard: one share has no table; add --csv to the run that follows"
            )
        return _share(folder, options)
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


def _share(folder: Path, options: Mapping[str, Any]) -> int:
    """Compute one share, and print what is there and which commands come next; return 3 if a cell failed."""
    progress = Progress()
    with keeping(lambda: _kept(progress, folder)), progress:
        found = api.run_share(progress, **options)
    left = [f"{found.open} wait for other shares"] if found.open else []
    left += [f"{len(found.failed)} failed"] if found.failed else []
    left += [f"{found.blocked} blocked by a check"] if found.blocked else []
    width = screen_width()
    for line in (
        f"share {found.share}    {found.stored} of its {found.tasks} tasks are stored; of their cells "
        + ", ".join([f"{found.finished} are finished", *left]),
        f"verdicts     {folder}{os.sep}   (the same command resumes)",
        "next         when all shares are done and each has a folder of its own: "
        f"{typed('results', 'merge')} FOLDER ... --into MERGED",
        "at the end   this command, which prints the table; after a merge with --results MERGED:",
    ):
        print(prose(line, width))
    print(f"    {_without_share(options)}")  # never broken, so that it can be copied
    _print_failures(found.failed)
    return 0 if found.done else 3


def _without_share(options: Mapping[str, Any]) -> str:
    """Return the command of the run without its share, which brings the shares together."""
    given = {name: value for name, value in options.items() if value is not None and name != "shard"}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    unset = f"env -u {variable('shard')} " if os.environ.get(variable("shard")) else ""
    return unset + typed("run", *words)


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
    if not cells:  # before the plan is made; the folder may hold those of earlier runs
        return f"no new cells finished, and what is stored in {folder}{os.sep} stays"
    return f"{done} of {cells} cells finished{parts}: stored in {folder}{os.sep}"


def _table_of(results: Path) -> str:
    """Return the command that prints the table again."""
    where = [] if results == DEFAULT_RESULTS else ["--results", str(results)]
    return typed("table", *where)


def _status(results: Results) -> int:
    _print_failures([(cell.title, error) for cell, error in results.failed])
    return 3 if results.failed or any(each.outcome is None and each.blocked for each in results) else 0


def _print_failures(failed: Sequence[tuple[str, str]]) -> None:
    for title, error in failed:
        print(prose(f"FAIL {title}: {error}", screen_width()), file=sys.stderr)
