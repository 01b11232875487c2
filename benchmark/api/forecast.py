"""Forecasts of what a run would compute and how long it would take: `bench.plan`, `bench run --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.api.arguments import checked
from bench.api.asked import Asked, resolve, workers
from bench.catalogue.guests import files_of, guest
from bench.catalogue.options import settled
from bench.datasets.examples import Examples
from bench.harness.estimate import seconds_per_pass
from bench.harness.run import pending
from bench.harness.share import Portion, cost_of
from bench.harness.watcher import Silent, Watcher
from bench.machine.isolation import apart, isolated
from bench.report.live.heartbeat import span
from bench.results.cell import Cell
from bench.results.outcome import Done, Failed


@checked
def plan(watcher: Watcher | None = None, **options: Any) -> Forecast:  # noqa: ANN401  (the fields of `RunOptions`)
    """Forecast what `run` would compute with the same options, and about how long it would take; compute nothing.

    No file of a user is executed, so what its defense or attack costs, and whether it is stored, is not known.
    """
    chosen = settled(options)
    with isolated(workers(chosen)):
        return forecast(resolve(chosen, watcher or Silent(), unloaded=True))


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
        share: such as `2/3`, if it is of one share of the run; then of the cells that this share has a part in.
    """

    rows: tuple[tuple[str, str, str], ...]
    cells: int
    images: int
    passes: int
    seconds: float
    executor: str
    share: str = ""

    def count(self, *kinds: str) -> int:
        """Return how many cells are of these kinds."""
        return sum(kind in kinds for kind, _, _ in self.rows)

    def __str__(self) -> str:
        lines = [f"{kind:7s} {title}{': ' if more else ''}{more}" for kind, title, more in self.rows]
        counted = (
            f"{self.count('run', 'retry')} to run, {self.count('derive')} to derive, {self.count('stored')} stored, "
            f"{self.count('skip')} skipped"
        )
        of = f"share {self.share}: " if self.share else ""
        cost = f"at most {self.passes:,} passes (a backward counted as two), about {span(self.seconds)} at most"
        # The counts may not add up to the cells: a part of a worst case without a column is run, but is no cell.
        return "\n".join(
            [*lines, "", f"{of}{self.cells} cells on {self.images} images: {counted}", f"{cost} on {self.executor}"]
        )


def forecast(asked: Asked) -> Forecast:
    """Forecast what a run would compute and about how long it would take."""
    # Timing the formats would be computation; a plan stored by an earlier run is used.
    plan = asked.in_formats(measure=False).plan
    portion = asked.portion(plan)
    work = pending(plan, asked.store)
    if portion is not None:
        work = work.within(portion, asked.store)
        plan = [each for each in plan if each.skip is None and not each.parts and portion.of(each.cell)]
    executor = asked.executor(work.cells)
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
        if files_of(cell.defense, cell.attack):
            rows.append(("run", cell.title, "passes and time are not known: a plan runs no code of a file"))
            continue
        if cell.defense.digest not in speeds:
            speeds[cell.defense.digest] = _seconds_per_pass(cell, asked.examples, executor.device)
        part, most = ("", cell.passes()) if portion is None else _part(cell, asked, portion)
        took = most * speeds[cell.defense.digest]
        passes, seconds = passes + most, seconds + took
        kind = "retry" if isinstance(asked.store.find(cell), Failed) else "run"
        rows.append((kind, cell.title, f"{part}at most {most:,} passes, {span(took)}"))
    took, share = seconds / executor.jobs, asked.options.shard
    return Forecast(tuple(rows), len(plan), len(asked.examples), passes, took, executor.describe(), share)


def _part(cell: Cell, asked: Asked, portion: Portion) -> tuple[str, int]:
    """Return how much of a cell is in a portion, in words, and the most passes that what is missing of it takes."""
    mine, there = portion.of(cell), asked.store.shards(cell)
    most = sum(cost_of(cell, index) for index in mine if index not in there)
    return f"{len(mine)} of {len(cell.shards)} shards, ", most


def _seconds_per_pass(cell: Cell, examples: Examples, device: str) -> float:
    few = examples.part(0, min(cell.batch, len(examples)))
    seconds: float = apart(seconds_per_pass, cell, few, device, guest=guest(cell.defense))
    return seconds
