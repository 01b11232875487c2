"""Cells under way: their tasks, what comes back of them, and what that makes necessary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.datasets.examples import Examples
from bench.harness.agenda import Agenda
from bench.harness.alarm import at_the_cost_of, unaware
from bench.harness.formats import SearchFormats
from bench.harness.pace import Pace
from bench.harness.provenance import provenance
from bench.harness.reservations import Reservations
from bench.harness.share import Portion
from bench.harness.task import Cause, Executor, Report, Task
from bench.harness.watcher import Watcher
from bench.results.cell import Cell
from bench.results.outcome import Done, Failed
from bench.results.provenance import together
from bench.results.store import Store

# How often a task is begun whose process is lost each time, and how often its batch is halved where memory runs out.
_ATTEMPTS, _HALVINGS = 2, 2
# A guest whose code has ended the processes of so many cells is not tried on the others.
_ENDED = 2


@dataclass
class _Progress:
    """The state of a cell: its finished shards, who made them, and those computed again (`bench.harness.alarm`)."""

    shards: dict[int, Done]
    made: dict[int, Mapping[str, Any]]
    unaware: dict[int, Done] = field(default_factory=dict)
    error: str = ""

    @classmethod
    def of(cls, stored: Mapping[int, tuple[Done, Mapping[str, Any]]]) -> _Progress:
        """Return the state of a cell with these shards, each with its provenance."""
        shards = {index: done for index, (done, _) in stored.items()}
        return cls(shards, {index: made for index, (_, made) in stored.items()})


class Underway:
    """Cells that are being computed. Every report is stored before anything else is made of it."""

    def __init__(
        self,
        cells: Sequence[Cell],
        examples: Examples,
        shelves: Mapping[str, Store],
        claims: Reservations,
        watcher: Watcher,
        pace: Pace,
        portion: Portion | None = None,
    ) -> None:
        """Find out what is missing.

        Args:
            cells: cells that are not finished; some of their shards may be.
            examples: their images, or more.
            shelves: where each cell is stored, by key.
            claims: which run computes what.
            watcher: who is told of progress.
            pace: how long tasks take.
            portion: the only shards to compute, where other machines compute the rest; then a cell is finished only if
                all of its shards are known here, and an alarm waits for the run that brings them together.
        """
        self._portion = portion
        self._cells, self._examples, self._shelves = cells, examples, shelves
        self._claims, self._watcher = claims, watcher
        self._progress = {cell.key: _Progress.of(shelves[cell.key].made_shards(cell)) for cell in cells}
        self._agenda = Agenda(self._begins, pace)
        # By guest: how many cells its code has ended the process of, and why it is given up.
        self._ended: dict[str, int] = {}
        self._given_up: dict[str, str] = {}

    def compute(self, executor: Executor) -> None:
        """Compute what is missing; no cell waits for another, and the tasks of an alarm join those that wait."""
        for cell in self._cells:
            there = self._progress[cell.key].shards
            for index in range(len(cell.shards)):
                if index not in there and self._is_ours(cell, index):
                    self._agenda.add(self._task(cell, index))
            # Shards that an earlier run computed without finishing the cell: only the last step is missing.
            if len(there) == len(cell.shards) and self._claims.take(cell):
                self._settle(cell)
        for report in executor.run(self._agenda, lambda task, passed: self._watcher.advance(task.cell, passed)):
            self._receive(report)

    def _is_ours(self, cell: Cell, index: int) -> bool:
        return self._portion is None or (cell, index) in self._portion

    def _task(self, cell: Cell, index: int, *, alarm: bool = False) -> Task:
        shard = self._examples.part(*cell.shards[index])
        return Task(cell, index, shard, SearchFormats.parse(cell.precision), alarm)

    def _begins(self, task: Task) -> bool:
        """Return whether a task is still wanted: not where its cell has failed, or another run computes it."""
        if self._progress[task.cell.key].error:
            return False
        if task.guest in self._given_up:
            self._fail(task.cell, self._given_up[task.guest])
            return False
        return self._claims.take(task.cell)

    def _receive(self, report: Report) -> None:
        """Store what came of a task, or try it again."""
        task = report.task
        cell, at, store = task.cell, self._progress[task.cell.key], self._shelves[task.cell.key]
        if report.done is None:
            again = None if at.error else _tried_again(report)
            if again is not None:
                self._agenda.add(again)
                return
            if not at.error and report.cause in (Cause.LOST, Cause.KILLED, Cause.HUNG):
                self._suspect(report)
            self._fail(cell, report.error)
            return
        done, made = report.done, provenance(cell, report.seconds)
        if task.index in at.unaware:
            done = at_the_cost_of(at.unaware.pop(task.index), done)
            made = together([at.made[task.index], made])
        at.shards[task.index], at.made[task.index] = done, made
        if report.kept is not None:
            store.keep_images(cell, report.kept)
        if len(cell.shards) > 1:
            store.add_shard(cell, task.index, done, made)
        self._settle(cell)

    def _settle(self, cell: Cell) -> None:
        """Finish a cell whose shards are all computed, or add the tasks that an alarm makes necessary."""
        at, store = self._progress[cell.key], self._shelves[cell.key]
        if at.error:
            return
        whole = len(at.shards) == len(cell.shards)
        late = unaware(cell, at.shards) if whole else []
        if not whole or (late and self._portion is not None):
            if all(index in at.shards for index in range(len(cell.shards)) if self._is_ours(cell, index)):
                self._watcher.leave(cell, len(at.shards))
            return
        for index in late:
            at.unaware[index] = at.shards.pop(index)
            store.drop_shard(cell, index)
            self._agenda.add(self._task(cell, index, alarm=True))
        if not late:
            order = range(len(cell.shards))
            made = together([at.made[index] for index in order])
            outcome = store.finish(cell, [at.shards[index] for index in order], made)
            self._watcher.end(cell, outcome)
            self._claims.release(cell)

    def _fail(self, cell: Cell, error: str) -> None:
        """Store why a cell failed; it stays reserved, because shards of it may still be on their way."""
        at = self._progress[cell.key]
        if at.error:
            return
        at.error = error
        self._shelves[cell.key].fail(cell, error)
        self._watcher.end(cell, Failed(error))

    def _suspect(self, report: Report) -> None:
        """Give up a guest that hangs, or that has ended the processes of several cells.

        Each cell would cost a timeout, or two starts of a process.
        """
        guest = report.task.guest
        self._ended[guest] = self._ended.get(guest, 0) + 1
        if guest and (report.cause is Cause.HUNG or self._ended[guest] >= _ENDED):
            self._given_up[guest] = f"not tried after {report.task.cell.attack.label}: {report.error}"


def _tried_again(report: Report) -> Task | None:
    """Return the task to compute instead of one that failed by no fault of the defense; `None` where it has failed."""
    task = report.task
    if report.cause in (Cause.LOST, Cause.KILLED) and task.attempt + 1 < _ATTEMPTS:
        return replace(task, attempt=task.attempt + 1)
    large = report.cause in (Cause.MEMORY, Cause.KILLED) and not task.cell.defense.stochastic
    if large and task.halvings < _HALVINGS:
        return replace(task, halvings=task.halvings + 1)
    return None
