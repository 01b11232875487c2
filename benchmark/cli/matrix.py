"""`bench run`: from options to a filled matrix, its table and its files."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bench import matrix
from bench.cell import Cell, Done, Failed, Planned
from bench.cli import TERMINATED
from bench.cli.outputs import print_table
from bench.cli.progress import Progress
from bench.datasets.examples import Examples
from bench.datasets.load import load, threats
from bench.errors import BenchError
from bench.executors import Executor, choose
from bench.executors.task import load_defense, one_line
from bench.run import pending, run
from bench.store import Store


@dataclass(frozen=True)
class RunOptions:
    """The options of `bench run`, as given."""

    defenses: str
    attacks: str
    dataset: str
    data: Path | None
    threat: str
    n: int
    seed: int
    draws: int
    batch: int
    device: str
    results: Path
    weights: Path | None
    executor: str
    jobs: int
    csv: Path | None


def fill(options: RunOptions) -> int:
    """Run what is missing and print the table; 3 when a cell failed."""
    plan, examples, store = _resolve(options)
    todo = pending(plan, store).cells
    executor = _executor(options, len(todo))
    _require_loadable(todo, examples)
    store.require_writable()
    with _Termination(), Progress() as progress:
        results = run(plan, examples, store, executor, progress)
    if options.csv is not None:  # before anything is printed: the reader of our output may leave
        from bench.leaderboard import write_csv

        write_csv(results, options.csv)
    print_table(results)
    if options.csv is not None:
        print(f"leaderboard  {options.csv}")
    print(f"verdicts     {options.results}{os.sep}   (bench table, leaderboard and gate read it; rerun to resume)")
    failed = [result for result in results if isinstance(result.outcome, Failed)]
    for result in failed:
        assert isinstance(result.outcome, Failed)  # noqa: S101  (for the type checker)
        print(f"FAIL {result.cell.title}: {result.outcome.error}", file=sys.stderr)
    return 3 if failed else 0


def plan(options: RunOptions) -> int:
    """Say what a run would compute and about how long it would take."""
    from bench.calibrate import seconds_per_pass
    from bench.executors.task import passes

    plan, examples, store = _resolve(options)
    work = pending(plan, store)
    executor = _executor(options, len(work.cells))
    for planned in plan:
        cell = planned.cell
        if planned.skip is not None:
            print(f"skip    {cell.title}: {planned.skip}")
        elif isinstance(store.find(cell), Done):
            print(f"stored  {cell.title}")
        elif planned.parts:
            print(f"derive  {cell.title}: the worst case of {cell.attack.source}")
    speeds: dict[str, float] = {}
    total_passes, total_seconds = 0, 0.0
    for cell in work.cells:
        if cell.defense.digest not in speeds:
            speeds[cell.defense.digest] = seconds_per_pass(cell, examples, executor.device)
        count = passes(cell, len(examples))
        seconds = count * speeds[cell.defense.digest]
        total_passes, total_seconds = total_passes + count, total_seconds + seconds
        again = isinstance(store.find(cell), Failed)
        print(f"{'retry' if again else 'run':7s} {cell.title}: at most {count:,} passes, {_span(seconds)}")
    skipped = sum(planned.skip is not None for planned in plan)
    derived = len(work.composites)
    stored = sum(isinstance(store.find(planned.cell), Done) for planned in plan if planned.skip is None)
    counted = f"{len(work.cells)} to run, {derived} to derive, {stored} stored, {skipped} skipped"
    print(f"\n{len(plan)} cells on {len(examples)} images: {counted}")
    print(
        f"at most {total_passes:,} passes (a backward counted as two), "
        f"about {_span(total_seconds / executor.jobs)} at most on {executor.describe()}"
    )
    return 0


def _resolve(options: RunOptions) -> tuple[list[Planned], Examples, Store]:
    """Everything that can be wrong with the request is found here, before anything is computed."""
    store = Store(options.results)
    chosen = matrix.threats(options.threat, ())
    matrix.check_names(options.defenses, options.attacks)
    examples = load(options.dataset, "test", n=options.n, data=options.data)
    request = matrix.MatrixRequest(
        options.defenses,
        options.attacks,
        chosen or threats(options.dataset),
        options.seed,
        options.draws,
        options.batch,
        options.weights,
    )
    return matrix.build(request, examples), examples, store


def _require_loadable(cells: Sequence[Cell], examples: Examples) -> None:
    """Load every defense once, here: a bad checkpoint is a mistake in the request, not a failed cell."""
    for defense in {cell.defense.label: cell.defense for cell in cells}.values():
        for note in defense.notes:
            print(f"note: {defense.label}: {note}", file=sys.stderr)
        try:
            load_defense(defense, examples.spec)
        except BenchError:
            raise
        except Exception as error:
            raise BenchError(f"defense {defense.label!r} does not load: {one_line(error)}; see bench doctor") from error


def _executor(options: RunOptions, tasks: int) -> Executor:
    if options.jobs < 0:
        raise BenchError(f"--jobs {options.jobs} is out of range: give 0 (one per core) or more")
    return choose(options.executor, options.device, options.jobs, tasks)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Termination:
    """Turn SIGTERM into an orderly end: workers stopped, everything finished stored, status 143."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._stop)

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)
