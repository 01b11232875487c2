"""Baselines: what a folder of results would change as the new baseline, and the update itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.arguments import checked
from bench.api.stored import load, require_baseline
from bench.errors import BenchError
from bench.results import baseline as folders
from bench.results.cell import Result

if TYPE_CHECKING:
    from bench.report.baseline import Difference

Folder = str | os.PathLike[str]


@checked
def update_baseline(
    baseline: Folder,
    results: Folder,
    *,
    dry_run: bool = False,
    allow_incomplete: bool = False,
    allow_removed: bool = False,
) -> Difference:
    """Replace a baseline by the results of another folder, as a whole, and return what that changed.

    Args:
        baseline: a folder; it is made where there is none. A file in it that is no result, such as a README, stays.
        results: the folder whose finished cells, checks and runs become the baseline.
        dry_run: change nothing; where the update would be refused for what it is not allowed, `refused` says why.
        allow_incomplete: even if cells of `results` are failed, missing or blocked; a gate refuses these.
        allow_removed: even if cells of the baseline are not in `results`: nobody is held to them any more.

    Raises:
        BenchError: a folder is not there or holds no results, a document is damaged, or what was not allowed.
    """
    from bench.report.baseline import difference

    old = Path(baseline)
    _require_room(old)
    new = load(results)
    if not dry_run:
        folders.restore(old)
    folders.require_ours(old)
    folders.require_apart(old, Path(results))
    before: Sequence[Result] = load(old).cells if old.is_dir() and any(old.iterdir()) else ()
    found = difference(before, new.cells, folders.unfinished(new.cells))
    refused = _refused(found, results, allow_incomplete, allow_removed)
    if dry_run:
        return replace(found, refused=refused)
    if refused:
        raise BenchError(refused)
    folders.replace(old, Path(results), folders.documents(Path(results), new.cells))
    return replace(found, written=True)


@checked
def describe_baseline(baseline: Folder, *, width: int | None = None) -> str:
    """Return what a baseline holds as text: its numbers, what made them, and how small a drop they can show.

    Args:
        baseline: the folder.
        width: columns of the terminal; `None` for no bound.
    """
    from bench.report.baseline import described

    require_baseline(baseline)
    root = Path(baseline)
    cells = load(root).cells
    return described(cells, folders.made_by(root, folders.documents(root, cells)), width)


def _require_room(baseline: Path) -> None:
    """Raise a BenchError where a file is in the place of a baseline: it would be gone."""
    place = baseline.absolute()
    for part in (place, *place.parents):
        if part.is_dir():
            return
        if os.path.lexists(part):
            raise BenchError(f"--baseline {str(baseline)!r}: {part.name!r} is a file: name a folder")


def _refused(found: Difference, results: Folder, allow_incomplete: bool, allow_removed: bool) -> str:
    removed = [change.title for change in found.changes if change.kind == "removed"]
    if found.unfinished and not allow_incomplete:
        why = f"{_cells(found.unfinished)} no baseline ({_first(found.unfinished)})"
        return f"{why}: finish them with 'bench run', or pass --allow-incomplete"
    if removed and not allow_removed:
        why = f"{_cells(removed, ' of the baseline')} not in {str(results)!r} ({_first(removed)})"
        return f"{why}: run them, too, or pass --allow-removed"
    return ""


def _cells(lines: Sequence[str], which: str = "") -> str:
    return f"1 cell{which} is" if len(lines) == 1 else f"{len(lines)} cells{which} are"


def _first(lines: Sequence[str]) -> str:
    return lines[0] + (f" and {len(lines) - 1} more" if len(lines) > 1 else "")
