"""How far a run is: live bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich import progress
from rich.console import Console

from bench.cell import Cell
from bench.errors import is_no_gradient
from bench.executors.task import passes
from bench.outcome import Done, Failed


class Progress:
    """A bar per cell at work and one for the whole run, with the time left.

    The unit is the pass. Attacks stop early on what they have broken, so a cell ends before its
    bar is full; the rest is credited then, and the time left is an upper estimate.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=30),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._whole = self._bars.add_task("whole run", total=None)
        self._rows: dict[str, progress.TaskID] = {}
        self._began: dict[str, float] = {}
        self._settled: set[str] = set()
        self._beside: set[str] = set()
        self._cells = 0
        self._done = 0

    def __enter__(self) -> Progress:
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._bars.stop()

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None:
        """Called once, with the cells to compute, the number of those stored, and those of the checks."""
        self._cells = len(cells)
        self._beside = {cell.key for cell in beside}
        if stored:
            self._line(f"{stored} cell{'s' * (stored != 1)} stored already, {len(cells)} to run")
        if not cells and not beside:
            return
        self._bars.update(self._whole, total=sum(passes(cell, cell.slice.n) for cell in (*cells, *beside)))

    def advance(self, cell: Cell, passed: int) -> None:
        """Called with the examples that have passed forward since; a gradient is a backward too."""
        if cell.key in self._settled:  # a shard of a cell that has failed already
            return
        if cell.key not in self._rows:
            total = passes(cell, cell.slice.n)
            self._rows[cell.key] = self._bars.add_task(cell.title, total=total)
            self._began[cell.key] = time.monotonic()
        row = self._rows[cell.key]
        weighted = passed * (3 if cell.attack.backwards else 1)
        bar = self._bars.tasks[self._bars.task_ids.index(row)]
        weighted = min(weighted, max(0, int((bar.total or 0) - bar.completed)))
        self._bars.advance(row, weighted)
        self._bars.advance(self._whole, weighted)

    def wait(self, cells: Sequence[Cell]) -> None:
        """Called before this run waits for another one that computes some of its cells."""
        self._line(f"waiting for another run in this folder, which computes {len(cells)} of these cells")

    def end(self, cell: Cell, outcome: Done | Failed) -> None:
        """Called once per cell, when it is settled."""
        self.advance(cell, passes(cell, cell.slice.n))
        self._settled.add(cell.key)
        self._done += cell.key not in self._beside
        seconds = time.monotonic() - self._began[cell.key]
        self._bars.remove_task(self._rows[cell.key])
        if cell.key in self._beside:
            # That there is no gradient the examination of the defense has said once.
            if isinstance(outcome, Failed) and not is_no_gradient(outcome.error):
                self._line(f"check {cell.title}: FAIL: {outcome.error}")
            return
        what = f"FAIL: {outcome.error}" if isinstance(outcome, Failed) else _robust(outcome)
        self._line(f"[{self._done}/{self._cells}] {cell.title}: {what} ({seconds:.0f} s)")

    def _line(self, text: str) -> None:
        if self._live:
            self._bars.console.print(text, highlight=False, markup=False)
        else:
            # Whoever read the progress may have left; the run goes on without a listener.
            with contextlib.suppress(BrokenPipeError):
                print(text, file=sys.stderr, flush=True)


def _robust(done: Done) -> str:
    counts = done.verdicts.adversarial
    return f"{counts.mean() / done.verdicts.draws:.1%} robust"
