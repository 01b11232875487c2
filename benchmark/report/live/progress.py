"""Progress of a run: live bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.progress import TaskID

from bench.errors import is_no_gradient
from bench.report.live.bars import Bars
from bench.report.live.heartbeat import EVERY, Heartbeat, say, span
from bench.report.plain import flat
from bench.results.cell import Cell
from bench.results.outcome import Done, Failed

# How many running cells a heartbeat names.
_MOST_NAMED = 4


class Progress:
    """A watcher with a bar per running cell and one for the whole run, with the time left.

    The unit is the pass. Attacks stop early on broken examples, so a cell ends before its
    bar is full; the rest is credited then, and the time left is an upper estimate.

    Args:
        every: seconds of silence before a line, if there are no bars.
        clock: returns seconds since any fixed time.

    Attributes:
        cells: the cells to compute, set by `begin`.
        stored: how many more cells were stored already.
    """

    def __init__(self, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = Bars()
        self._bars = self._screen.shown
        self._clock = clock
        self._started = clock()
        self.heart = Heartbeat(self.told, say, every, clock)
        self._whole = self._bars.add_task("whole run", total=None)
        self._rows: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._settled: set[str] = set()
        self._beside: set[str] = set()
        self._cells = 0
        self._done = 0
        self._waiting = False
        self._step = "starting"
        self.cells: tuple[Cell, ...] = ()
        self.stored = 0

    def __enter__(self) -> Progress:
        if self._screen.live:
            self._screen.start()
        else:
            self.heart.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._screen.live:
            self._screen.stop()
        else:
            self.heart.__exit__()

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None:
        """Start a run: its cells to compute, the number of stored ones, and the cells of the checks."""
        self._cells = len(cells)
        self.cells, self.stored = tuple(cells), stored
        self._beside = {cell.key for cell in beside}
        if stored:
            self._line(f"{stored} cell{'s' * (stored != 1)} stored already, {len(cells)} to run")
        if not cells and not beside:
            return
        self._bars.update(self._whole, total=sum(cell.passes() for cell in (*cells, *beside)))

    def advance(self, cell: Cell, passed: int) -> None:
        """Credit examples that have passed forward since the last call; for a gradient attack also backward."""
        if cell.key in self._settled:  # a shard of a cell that has failed already
            return
        if cell.key not in self._rows:
            total = cell.passes()
            self._rows[cell.key] = self._bars.add_task(flat(cell.title), total=total)
            self._began[cell.key] = self._clock()
        row = self._rows[cell.key]
        # A forward and a backward, which counts as two.
        weighted = passed * (3 if cell.attack.backwards else 1)
        bar = self._bars.tasks[self._bars.task_ids.index(row)]
        # A cell may take more passes than planned, such as those that confirm a success: its bar stays full then.
        weighted = min(weighted, max(0, int((bar.total or 0) - bar.completed)))
        self._bars.advance(row, weighted)
        self._bars.advance(self._whole, weighted)

    def wait(self, cells: Sequence[Cell]) -> None:
        """Say that this run waits for another one that computes some of its cells."""
        self._waiting = True
        self._line(f"waiting for another run in this folder, which computes {len(cells)} of these cells")

    def end(self, cell: Cell, outcome: Done | Failed) -> None:
        """Close the bar of a finished or failed cell and print its result."""
        self.advance(cell, cell.passes())
        self._settled.add(cell.key)
        # Cells of the checks are computed along with the table, but nobody asked for them.
        self._done += cell.key not in self._beside
        seconds = self._clock() - self._began[cell.key]
        self._bars.remove_task(self._rows.pop(cell.key))
        if cell.key in self._beside:
            # The examination of the defense has already said once that there is no gradient.
            if isinstance(outcome, Failed) and not is_no_gradient(outcome.error):
                self._line(f"check {cell.title}: FAIL: {outcome.error}")
            return
        what = f"FAIL: {outcome.error}" if isinstance(outcome, Failed) else _robust(outcome)
        self._line(f"[{self._done}/{self._cells}] {cell.title}: {what} ({seconds:.0f} s)")

    def leave(self, cell: Cell, shards: int) -> None:
        """Close the bar of a cell that others finish, without a number: part of a cell has none."""
        self.advance(cell, cell.passes())
        self._settled.add(cell.key)
        self._done += cell.key not in self._beside
        self._bars.remove_task(self._rows.pop(cell.key))
        if cell.key not in self._beside:
            rest = (
                "the others belong to other shares" if shards < len(cell.shards) else "an alarm needs them in one run"
            )
            self._line(f"[{self._done}/{self._cells}] {cell.title}: {shards} of {len(cell.shards)} shards, {rest}")

    def told(self) -> str:
        """Return a line that says what is running, how far it is, and for how long it has run."""
        tasks = {task.id: task for task in self._bars.tasks}
        whole = tasks.pop(self._whole)
        done = f"{self._done} of {self._cells} cells done, {whole.percentage:.0f} % of the passes at most"
        at_work = [f"{task.description} {task.percentage:.0f} %" for task in tasks.values()]
        more = f" and {len(at_work) - _MOST_NAMED} more" if len(at_work) > _MOST_NAMED else ""
        if at_work:
            what = f"at work: {', '.join(at_work[:_MOST_NAMED])}{more}"
        else:
            what = "waiting for another run in this folder" if self._waiting else self._step
        return f"still running after {span(self._clock() - self._started)}: {done}; {what}"

    def say(self, text: str) -> None:
        """Print a line that the user should read."""
        self._line(text)

    def step(self, what: str) -> None:
        """Name the current step if it has no progress of its own, such as reading images."""
        self._step = what

    def _line(self, text: str) -> None:
        self._screen.say(text)
        self.heart.heard()


def _robust(done: Done) -> str:
    counts = done.verdicts.adversarial
    return f"{counts.mean() / done.verdicts.draws:.1%} robust"
