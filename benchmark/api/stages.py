"""How accuracies moved: over several results folders, the runs inside one, or the commits of one in git."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.arguments import checked
from bench.api.stored import load, require_promises
from bench.catalogue.options import default_of
from bench.errors import BenchError, unknown
from bench.results import housekeeping
from bench.results.filter import Filter, with_blocks
from bench.results.store import Store

if TYPE_CHECKING:
    from bench.report.history import History, Stage

Folder = str | os.PathLike[str]
# What `Results.only` takes.
_CHOICES = ("defenses", "attacks", "threat", "dataset")


@checked
def history(
    *folders: Folder,
    git: Folder | None = None,
    last: int = 20,
    by_time: bool = False,
    alpha: float = 0.01,
    min_effect: float = 0.01,
    **chosen: str,
) -> History:
    """Follow every accuracy through several states of a results folder.

    Args:
        folders: results folders, the oldest first; of a single one its runs are followed. Without any, and without
            `git`, those of the default folder.
        git: in place of folders, one that is under git: its state at each commit of the first-parent line that
            touched it. Nothing is checked out, changed or fetched.
        last: only the last so many commits or runs.
        by_time: folders in the order of their latest runs instead of as given.
        alpha: chance of a false alarm per step and direction.
        min_effect: the smallest difference worth a mark, as a share.
        **chosen: `defenses`, `attacks`, `threat`, `dataset`, as of `Results.only`.

    Returns:
        Rows of points with intervals, breaks and paired tests; `to_json()`, `to_csv(path)` and `plot()`.

    Raises:
        BenchError: nothing to read, or a number is out of range.
    """
    from bench.report.history_points import follow

    for name in chosen:
        if name not in _CHOICES:
            raise unknown("argument of history", name, _CHOICES)
    require_promises(alpha, min_effect, 1.0)
    if not 1 <= last <= 1000:
        raise BenchError(f"--last {last} is out of range: give 1 to 1000")
    if git is not None and folders:
        raise BenchError("give either results folders, or --git with one that is under git")
    if git is not None:
        stages = _commits(Path(git), last)
    elif len(folders) > 1:
        stages = [_folder(Path(each)) for each in folders]
        stages = sorted(stages, key=lambda each: each.when) if by_time else stages
    else:
        stages = _runs(Path(folders[0] if folders else default_of("results")), last)
    return follow(_only(stages, Filter(**chosen)), alpha=alpha, min_effect=min_effect)


def _folder(folder: Path) -> Stage:
    from bench.report.history import Stage

    found = load(folder).cells
    return Stage(str(folder), housekeeping.runs(folder)[-1].when, found)


def _runs(folder: Path, last: int) -> list[Stage]:
    """Return the state of a folder after each of its runs: what had been asked for by then, with today's outcomes."""
    from bench.report.history import Stage

    load(folder)  # which says what is wrong with a folder that holds nothing
    store, runs = Store(folder), housekeeping.runs(folder)
    return [
        Stage(f"run of {run.when[:19].replace('T', ' ') or 'before'}", run.when, tuple(store.results(index + 1)))
        for index, run in list(enumerate(runs))[-last:]
    ]


def _commits(folder: Path, last: int) -> list[Stage]:
    from bench.report.history import Stage
    from bench.results.commits import folder_history

    stages = []
    for commit, place in folder_history(folder, last).states():
        name = f"{commit.id[:8]} {commit.subject}"
        # One damaged or newer commit must not hide the others.
        results, trouble = _tried(lambda place=place: tuple(Store(place).results()))  # type: ignore[misc]
        stages.append(Stage(name, commit.when, results, trouble.replace(str(place), str(folder))))
    if all(stage.trouble for stage in stages):
        raise BenchError(f"none of {len(stages)} commits holds results that can be read: {stages[-1].trouble}")
    return stages


def _tried(read: Callable[[], tuple[object, ...]]) -> tuple[tuple, str]:  # type: ignore[type-arg]
    try:
        return read(), ""
    except BenchError as error:
        return (), str(error)


def _only(stages: Sequence[Stage], chosen: Filter) -> list[Stage]:
    """Return the stages with the chosen part of their results; a name must be in one of them, not in all."""
    kept = {id(each) for each in chosen.chosen([each for stage in stages for each in stage.results])}
    return [
        # Blocks of a stage, not of others.
        replace(stage, results=tuple(with_blocks([each for each in stage.results if id(each) in kept], stage.results)))
        for stage in stages
    ]
