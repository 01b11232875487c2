"""The run of a matrix: compute the cells that the store lacks, and store every shard as soon as it is done."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bench import __version__
from bench.catalogue import versions
from bench.datasets.examples import Examples
from bench.errors import is_no_gradient
from bench.harness.alarm import at_the_cost_of, unaware
from bench.harness.formats import SearchFormats
from bench.harness.reservations import Reservations
from bench.harness.task import Executor, Report, Task
from bench.results.cell import Cell, Planned, Result
from bench.results.outcome import Done, Failed, worst_case
from bench.results.store import Store

# Seconds to wait for another run's lock between two looks for its result.
_PATIENCE = 1.0


class Watcher(Protocol):
    """A display of a run's progress."""

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None: ...
    def advance(self, cell: Cell, passed: int) -> None: ...
    def end(self, cell: Cell, outcome: Done | Failed) -> None: ...
    def wait(self, cells: Sequence[Cell]) -> None:
        """Report that another run is computing these cells, before waiting for it."""

    def say(self, text: str) -> None:
        """Something that a user should know, a line."""

    def step(self, what: str) -> None:
        """Called before a step without progress of its own, such as reading images."""


class Silent:
    """A watcher that shows nothing."""

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None: ...
    def advance(self, cell: Cell, passed: int) -> None: ...
    def end(self, cell: Cell, outcome: Done | Failed) -> None: ...
    def wait(self, cells: Sequence[Cell]) -> None: ...
    def say(self, text: str) -> None: ...
    def step(self, what: str) -> None: ...


@dataclass
class _Progress:
    """The state of a cell: its finished shards, those computed again (`bench.harness.alarm`), and their seconds."""

    shards: dict[int, Done]
    unaware: dict[int, Done] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = field(default="")


@dataclass(frozen=True)
class Work:
    """The work that a plan lacks.

    Attributes:
        cells: cells to compute, neither skipped nor stored; a failed one is tried again.
        composites: cells to derive from their parts once those are done.
    """

    cells: tuple[Cell, ...]
    composites: tuple[Planned, ...]

    def admitted(self, plan: Sequence[Planned]) -> Work:
        """The part of it that a plan still wants, in which checks may have blocked some cells."""
        wanted = {cell.key for each in plan if not each.blocked for cell in (each.cell, *each.parts)}
        return Work(
            tuple(cell for cell in self.cells if cell.key in wanted),
            tuple(each for each in self.composites if each.cell.key in wanted),
        )


def pending(plan: Sequence[Planned], store: Store) -> Work:
    """Find the work that is missing; a part that two cells need is computed once."""
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
    work: Work | None = None,
) -> list[Result]:
    """Compute what is missing and return every cell of the plan with its outcome.

    What was finished stays finished whatever stops the run; the same call again computes the rest.

    Args:
        plan: the cells of the table.
        examples: their images.
        store: where verdicts are kept.
        executor: where shards are computed.
        watcher: who is told of progress.
        beside: missing cells that no table shows, computed along with the others, on a beginning of `examples`.
        aside: where the verdicts of those are kept.
        work: what the plan lacks, where that is known already.
    """
    # Before hours of work, not after them.
    store.require_writable()
    store.remember(examples)
    store.ask(plan)
    work = pending(plan, store) if work is None else work
    asked = sum(planned.skip is None and not planned.blocked for planned in plan)
    keys = {cell.key for cell in work.cells}
    stored = asked - sum(planned.cell.key in keys for planned in plan) - len(work.composites)
    shelves = {cell.key: store for cell in work.cells}
    extra = [cell for cell in beside if cell.key not in keys] if aside is not None else []
    shelves |= {cell.key: aside for cell in extra if aside is not None}
    watcher.begin(work.cells, stored, extra)
    _compute((*work.cells, *extra), examples, shelves, executor, watcher)
    for planned in work.composites:
        _derive(planned, store)
    return [store.result(planned) for planned in plan]


def lacking(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Return the cells that are not finished, each once."""
    once = {cell.key: cell for cell in cells}
    return [cell for cell in once.values() if not isinstance(store.find(cell), Done)]


def _compute(
    cells: Sequence[Cell],
    examples: Examples,
    shelves: Mapping[str, Store],
    executor: Executor,
    watcher: Watcher,
) -> None:
    """Compute every cell that no other run computes; then wait for those runs, and compute what they left undone."""
    with Reservations(shelves) as claims:
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
    claims: Reservations,
) -> None:
    progress = {cell.key: _Progress(shelves[cell.key].shards(cell)) for cell in cells}

    def task(cell: Cell, index: int, *, alarm: bool = False) -> Task:
        return Task(cell, index, examples.part(*cell.shards[index]), SearchFormats.parse(cell.precision), alarm)

    def on_pass(task: Task, passed: int) -> None:
        watcher.advance(task.cell, passed)

    def end(cell: Cell, outcome: Done | Failed) -> None:
        watcher.end(cell, outcome)
        if isinstance(outcome, Done):  # shards of a failed one may still be on their way
            claims.release(cell)

    def settled(cell: Cell) -> list[Task]:
        """Finish a cell whose shards are all computed; return the tasks that an alarm adds to it."""
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
    # Cells whose shards an earlier run computed without finishing the cell: only the last step is missing.
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
    """Derive and store a cell that is the worst case of others."""
    outcomes = [store.find(part) for part in planned.parts]
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    unable = tuple(
        part.attack.label
        for part, outcome in zip(planned.parts, outcomes, strict=True)
        if isinstance(outcome, Failed) and is_no_gradient(outcome.error)
    )
    # A part without a gradient is left out and named in the evidence, as a cascade does; any other failure counts.
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
    """Store the result of a task; return the failure of its cell if this is the first."""
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
    if report.kept is not None:
        store.keep_images(cell, report.kept)
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
