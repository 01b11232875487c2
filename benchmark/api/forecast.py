"""Forecasts of what a run would compute and how long it would take: `bench.plan`, `bench run --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.api.fill import Asked, resolve, workers
from bench.catalogue.guests import guest
from bench.catalogue.options import settled
from bench.datasets.examples import Examples
from bench.harness.estimate import seconds_per_pass
from bench.harness.run import pending
from bench.harness.watcher import Silent, Watcher
from bench.isolation import apart, isolated
from bench.report.live.heartbeat import span
from bench.results.cell import Cell
from bench.results.outcome import Done, Failed


def plan(watcher: Watcher | None = None, **options: Any) -> Forecast:  # noqa: ANN401  (the fields of `RunOptions`)
    """Forecast what `run` would compute with the same options, and about how long it would take; compute nothing."""
    chosen = settled(options)
    with isolated(workers(chosen)):
        return forecast(resolve(chosen, watcher or Silent()))


@dataclass(frozen=True)
class Forecast:
    """The forecast of a run.

    Attributes:
        rows: `skip`, `fail`, `stored`, `derive`, `run` or `retry`, the title of the cell, and a reason or the cost.
        cells: how many there are.
        images: how many each cell has.
        passes: of all cells to run, at most; a backward counts as two forwards.
        seconds: of all cells to run, at most, on the executor.
        executor: the executor, described.
    """

    rows: tuple[tuple[str, str, str], ...]
    cells: int
    images: int
    passes: int
    seconds: float
    executor: str

    def count(self, *kinds: str) -> int:
        """Return how many cells are of these kinds."""
        return sum(kind in kinds for kind, _, _ in self.rows)

    def __str__(self) -> str:
        lines = [f"{kind:7s} {title}{': ' if more else ''}{more}" for kind, title, more in self.rows]
        counted = (
            f"{self.count('run', 'retry')} to run, {self.count('derive')} to derive, {self.count('stored')} stored, "
            f"{self.count('skip')} skipped"
        )
        cost = f"at most {self.passes:,} passes (a backward counted as two), about {span(self.seconds)} at most"
        # The counts may not add up to the cells: a part of a worst case without a column is run, but is no cell.
        return "\n".join(
            [*lines, "", f"{self.cells} cells on {self.images} images: {counted}", f"{cost} on {self.executor}"]
        )


def forecast(asked: Asked) -> Forecast:
    """Forecast what a run would compute and about how long it would take."""
    # Timing the formats would be computation; a plan stored by an earlier run is used.
    plan = asked.in_formats(measure=False).plan
    work = pending(plan, asked.store)
    executor = asked.executor(len(work.cells))
    rows: list[tuple[str, str, str]] = []
    for planned in plan:
        title = planned.cell.title
        if planned.skip is not None:
            rows.append(("skip", title, planned.skip))
        elif planned.broken:
            rows.append(("fail", title, planned.broken))
        elif isinstance(asked.store.find(planned.cell), Done):
            rows.append(("stored", title, ""))
        elif planned.parts:
            rows.append(("derive", title, f"the worst case of {planned.cell.attack.source}"))
    speeds: dict[str, float] = {}
    passes, seconds = 0, 0.0
    for cell in work.cells:
        if cell.defense.digest not in speeds:
            speeds[cell.defense.digest] = _seconds_per_pass(cell, asked.examples, executor.device)
        took = cell.passes() * speeds[cell.defense.digest]
        passes, seconds = passes + cell.passes(), seconds + took
        kind = "retry" if isinstance(asked.store.find(cell), Failed) else "run"
        rows.append((kind, cell.title, f"at most {cell.passes():,} passes, {span(took)}"))
    return Forecast(tuple(rows), len(plan), len(asked.examples), passes, seconds / executor.jobs, executor.describe())


def _seconds_per_pass(cell: Cell, examples: Examples, device: str) -> float:
    few = examples.part(0, min(cell.batch, len(examples)))
    seconds: float = apart(seconds_per_pass, cell, few, device, guest=guest(cell.defense))
    return seconds
