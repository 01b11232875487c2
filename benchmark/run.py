"""Fill the matrix: compute what the store lacks, keep every shard as soon as it is done."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bench import __version__, versions
from bench.alarm import at_the_cost_of, unaware
from bench.cell import Cell, Planned, Result
from bench.claims import Claims
from bench.datasets.examples import Examples
from bench.errors import is_no_gradient
from bench.executors.task import Executor, Report, Task
from bench.formats import Plan
from bench.outcome import Done, Failed, worst_case
from bench.store import Store

# Seconds to wait for another run before looking whether it has finished.
_PATIENCE = 1.0


class Watcher(Protocol):
    """Whoever shows how far a run is; a cell is named by its key."""

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None: ...
    def advance(self, cell: Cell, passed: int) -> None: ...
    def end(self, cell: Cell, outcome: Done | Failed) -> None: ...
    def wait(self, cells: Sequence[Cell]) -> None:
        """Another run is computing these; called before waiting for it."""


@dataclass
class _Progress:
    """A cell on its way: the shards it has, those that are computed once more, the seconds they took."""

    shards: dict[int, Done]
    unaware: dict[int, Done] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = field(default="")


@dataclass(frozen=True)
class Work:
    """What a plan lacks.

    Attributes:
        cells: to be computed: neither skipped nor stored; a failed one is tried again.
        composites: to be derived from their parts once those are done.
    """

    cells: tuple[Cell, ...]
    composites: tuple[Planned, ...]


def pending(plan: Sequence[Planned], store: Store) -> Work:
    """Find out what is missing; a part that two cells need is computed once."""
    wanted = [planned for planned in plan if planned.skip is None and not planned.blocked]
    open_ = [planned for planned in wanted if not isinstance(store.find(planned.cell), Done)]
    cells = {cell.key: cell for planned in open_ for cell in planned.parts or (planned.cell,)}
    return Work(tuple(lacking(list(cells.values()), store)), tuple(planned for planned in open_ if planned.parts))


def run(
    plan: Sequence[Planned],
    examples: Examples,
    store: Store,
    executor: Executor,
    watcher: Watcher,
    beside: Sequence[Cell] = (),
    aside: Store | None = None,
) -> list[Result]:
    """Compute what is missing and return every cell of the plan with its outcome.

    What was finished stays finished whatever stops the run; the same call again computes the rest.

    Args:
        plan: the cells of the table.
        examples: their images.
        store: where verdicts are kept.
        executor: where shards are computed.
        watcher: who is told of progress.
        beside: cells that no table shows, computed along with the others, on a beginning of `examples`.
        aside: where the verdicts of those are kept.
    """
    store.require_writable()
    store.remember(examples)
    store.ask(plan)
    work = pending(plan, store)
    asked = sum(planned.skip is None and not planned.blocked for planned in plan)
    keys = {cell.key for cell in work.cells}
    stored = asked - sum(planned.cell.key in keys for planned in plan) - len(work.composites)
    shelves = {cell.key: store for cell in work.cells}
    extra = [cell for cell in lacking(beside, aside) if cell.key not in keys] if aside is not None else []
    shelves |= {cell.key: aside for cell in extra if aside is not None}
    watcher.begin(work.cells, stored, extra)
    _compute((*work.cells, *extra), examples, shelves, executor, watcher)
    for planned in work.composites:
        _derive(planned, store)
    return [store.result(planned) for planned in plan]


def lacking(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Those of some cells that are not finished, each once, whoever asks for it."""
    once = {cell.key: cell for cell in cells}
    return [cell for cell in once.values() if not isinstance(store.find(cell), Done)]


def _compute(
    cells: Sequence[Cell],
    examples: Examples,
    shelves: Mapping[str, Store],
    executor: Executor,
    watcher: Watcher,
) -> None:
    """Compute every cell that no other run computes; then wait for those, and compute what was left undone."""
    with Claims(shelves) as claims:
        _round(cells, examples, shelves, executor, watcher, claims)
        if claims.elsewhere:
            watcher.wait(list(claims.elsewhere.values()))
        while claims.elsewhere:
            cell = next(iter(claims.elsewhere.values()))
            outcome = shelves[cell.key].find(cell)
            if isinstance(outcome, Done):
                del claims.elsewhere[cell.key]
                watcher.end(cell, outcome)
            elif claims.take(cell, _PATIENCE):
                _round([cell], examples, shelves, executor, watcher, claims)


def _round(
    cells: Sequence[Cell],
    examples: Examples,
    shelves: Mapping[str, Store],
    executor: Executor,
    watcher: Watcher,
    claims: Claims,
) -> None:
    progress = {cell.key: _Progress(shelves[cell.key].shards(cell)) for cell in cells}

    def task(cell: Cell, index: int, *, alarm: bool = False) -> Task:
        return Task(cell, index, examples.part(*cell.shards[index]), Plan.parse(cell.precision), alarm)

    def on_pass(task: Task, passed: int) -> None:
        watcher.advance(task.cell, passed)

    def end(cell: Cell, outcome: Done | Failed) -> None:
        watcher.end(cell, outcome)
        if isinstance(outcome, Done):  # shards of a failed one may still be on their way
            claims.release(cell)

    def settled(cell: Cell) -> list[Task]:
        """End a cell whose shards are all there; or else what is still to be done about it."""
        at = progress[cell.key]
        if at.error or len(at.shards) < len(cell.shards):
            return []
        late = unaware(cell, at.shards)
        for index in late:
            at.unaware[index] = at.shards.pop(index)
            shelves[cell.key].drop_shard(cell, index)
        if not late:
            end(cell, _finish(cell, at, shelves[cell.key]))
        return [task(cell, index, alarm=True) for index in late]

    tasks = [
        task(cell, index)
        for cell in cells
        for index in range(len(cell.shards))
        if index not in progress[cell.key].shards
    ]
    # Those of which every shard was there: only the last step was missing.
    whole = [cell for cell in cells if len(progress[cell.key].shards) == len(cell.shards)]
    tasks += [late for cell in whole if claims.take(cell) for late in settled(cell)]
    while tasks:
        again: list[Task] = []
        for report in executor.run(tasks, on_pass, lambda task: claims.take(task.cell)):
            cell = report.task.cell
            failure = _take(report, progress[cell.key], shelves[cell.key])
            if failure is not None:
                end(cell, failure)
            again += settled(cell)
        tasks = again


def _derive(planned: Planned, store: Store) -> None:
    """Settle a cell that is the worst case of others."""
    outcomes = [store.find(part) for part in planned.parts]
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    unable = tuple(
        part.attack.label
        for part, outcome in zip(planned.parts, outcomes, strict=True)
        if isinstance(outcome, Failed) and is_no_gradient(outcome.error)
    )
    if done and len(done) + len(unable) == len(outcomes):
        worst = worst_case(done)
        known = replace(worst, evidence=replace(worst.evidence, unable=unable))
        store.finish(planned.cell, [known], _provenance(planned.cell, 0.0))
        return
    failed = next(index for index, outcome in enumerate(outcomes) if not isinstance(outcome, Done))
    part, outcome = planned.parts[failed], outcomes[failed]
    error = outcome.error if isinstance(outcome, Failed) else "it is missing"
    store.fail(planned.cell, f"{part.attack.label}: {error}")


def _take(report: Report, progress: _Progress, store: Store) -> Failed | None:
    """Keep what a task brought; the failure of its cell where it is the first to fail."""
    cell = report.task.cell
    if report.done is None:
        first = not progress.error
        progress.error = progress.error or report.error
        store.fail(cell, progress.error)
        return Failed(progress.error) if first else None
    index, done = report.task.index, report.done
    if index in progress.unaware:
        done = at_the_cost_of(progress.unaware.pop(index), done)
    progress.shards[index] = done
    progress.seconds += report.seconds
    if report.x_adv is not None:
        store.keep_images(cell, report.x_adv)
    if len(cell.shards) > 1:
        store.add_shard(cell, index, done)
    return None


def _finish(cell: Cell, progress: _Progress, store: Store) -> Done:
    shards = [progress.shards[index] for index in range(len(cell.shards))]
    return store.finish(cell, shards, _provenance(cell, progress.seconds))


def _provenance(cell: Cell, seconds: float) -> dict[str, object]:
    from importlib.metadata import version

    stages = cell.attack.stages or (cell.attack,)
    return {
        "code": {
            "harness": versions.code_of_harness(),
            "attack": "+".join(dict.fromkeys(versions.code_of(stage.source) for stage in stages)),
            "defense": versions.code_of(cell.defense.source),
        },
        "atop-bench": __version__,
        "torch": version("torch"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "seconds": round(seconds, 2),
    }
