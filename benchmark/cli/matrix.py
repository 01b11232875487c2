"""`bench run`: from options to a filled matrix, its table and its files."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench import contest, ladder, matrix, precision, probes, shifts, versions
from bench import study as studies
from bench.cell import Cell, Planned, Result
from bench.cli import TERMINATED
from bench.cli.notes import say_order_of_classes
from bench.cli.outputs import print_table
from bench.cli.progress import Progress
from bench.datasets.examples import Examples
from bench.datasets.load import HEADLINE, beyond, load, threat
from bench.errors import BenchError, one_line
from bench.executors import Executor, choose
from bench.executors.task import load_defense
from bench.formats import PLAIN
from bench.memory import keep_freed
from bench.outcome import Done, Failed
from bench.recognition import Recognized, recognized
from bench.run import lacking, pending, run
from bench.shifts import ShiftRequest
from bench.soundness import HELD_OUT, Bill, Examination, Images
from bench.store import Store
from bench.study import Study


@dataclass(frozen=True)
class RunOptions:
    """The options of `bench run`, as given or as settled by a study."""

    defenses: str
    attacks: str
    dataset: str
    threat: str
    eps: str
    n: int
    seed: int
    draws: int
    study: str
    data: Path | None
    batch: int
    device: str
    results: Path
    weights: Path | None
    executor: str
    jobs: int
    csv: Path | None
    checks: str
    despite: str
    corruptions: Path | None
    precision: str
    label: str = ""


_DEFAULTS: Mapping[str, Any] = {
    "defenses": "default",
    "attacks": "default",
    "dataset": "digits",
    "threat": "",
    "eps": "",
    "n": 128,
    "seed": 0,
    "draws": matrix.DEFAULT_DRAWS,
}


# How much of a run's passes its probes may take; None for as much as they need.
_SHARES: Mapping[str, float | None] = {"auto": probes.BUDGET, "all": None}


def settled(chosen: Mapping[str, Any], study: str) -> dict[str, Any]:
    """What was given on the command line, else in the study, else the default."""
    given = {key: value for key, value in chosen.items() if value is not None}
    asked = studies.read(study) if study else Study("")
    if (asked.rungs or asked.claims) and "attacks" in given:
        who = "rungs" if asked.rungs else "protocols"
        raise BenchError(f"--attacks {given['attacks']!r}: the {who} of study {study!r} name the attacks; leave it out")
    return {**_DEFAULTS, **asked.options, **given}


def fill(options: RunOptions) -> int:
    """Run what is missing and print the table, or the report of a study; 3 when a cell failed."""
    known, examples, store = _resolve(options)
    study = studies.read(options.study) if options.study else None
    how = _in_formats(known.plan, options, examples, store)
    plan = how.plan
    todo = pending(plan, store).cells
    _executor(options, len(todo))
    _require_loadable(todo, examples)
    store.require_writable()
    known.remember(store)
    how.remember(store)
    _say_what_is_new(how, options)
    examination = _examination(options, examples, store)
    with _Termination():
        plan = _admitted(plan, examination, options) if examination else plan
        results = _compute(plan, options, examples, store, examination, study)
    if options.csv is not None:  # before anything is printed: the reader of our output may leave
        from bench.leaderboard import write_csv

        write_csv(results, options.csv)
    if study is not None and study.rungs:
        print(f"{study.title}\n\n{ladder.render(ladder.ladders(results, study, store.aside()))}\n")
    else:
        print_table(results)
    if study is not None and study.claims:
        print(f"\n{study.title}\n\n{contest.render(contest.comparisons(results, study))}\n")
    if options.csv is not None:
        print(f"leaderboard  {options.csv}")
    print(f"verdicts     {options.results}{os.sep}   (the same command resumes)")
    print(f"the table    {_table_of(options.results)}")
    if examination and todo:
        print(_billed(examination.bill, sum(store.seconds(cell) for cell in todo)), file=sys.stderr)
    return _status(results)


def _table_of(results: Path) -> str:
    """The command that prints the table again, as it can be pasted here."""
    from bench.cli.app import DEFAULT_RESULTS

    found = shutil.which("bench")
    # From a virtual environment that is not active, the command is typed by its path.
    mine = Path(sys.argv[0])
    typed = "bench" if found or mine.name not in ("bench", "atop-bench") else str(mine)
    where = [] if results == DEFAULT_RESULTS else ["--results", str(results)]
    return shlex.join([typed, "table", *where])


def _status(results: Sequence[Result]) -> int:
    failed = [result for result in results if isinstance(result.outcome, Failed)]
    for result in failed:
        assert isinstance(result.outcome, Failed)  # noqa: S101  (for the type checker)
        print(f"FAIL {result.cell.title}: {result.outcome.error}", file=sys.stderr)
    return 3 if failed or any(result.outcome is None and result.blocked for result in results) else 0


def _compute(
    plan: Sequence[Planned],
    options: RunOptions,
    examples: Examples,
    store: Store,
    examination: Examination | None,
    study: Study | None,
) -> list[Result]:
    """Compute the table, the controls of a study and the probes of the checks, all in one go."""
    aside = store.aside()
    probed = probes.plan(plan, examples, share=_SHARES[options.checks]) if examination else []
    beside = [*(ladder.controls(plan, study) if study else []), *(probe.cell for probe in probed)]
    missing = lacking(beside, aside)
    work = pending(plan, store)
    executor = _executor(options, len(work.cells) + len(missing))
    with Progress() as progress:
        results = run(plan, examples, store, executor, progress, missing, aside)
    if examination is None:
        return results
    examination.bill.probes = sum(aside.seconds(cell) for cell in missing)
    examination.after(plan, probed)
    return [store.result(planned) for planned in plan]


def _in_formats(
    plan: Sequence[Planned], options: RunOptions, examples: Examples, store: Store, *, measure: bool = True
) -> precision.Settled:
    """The plan with what its keys say of formats."""
    executor = _executor(options, len(plan))
    keep_freed()  # formats are timed here as the workers will run them
    return precision.settled(
        plan,
        examples,
        store,
        precision=options.precision,
        device=executor.device,
        threads=executor.threads,
        measure=measure,
    )


def _say_what_is_new(found: precision.Settled, options: RunOptions) -> None:
    """Formats other than the given one, and code of ours that nobody has vouched for."""
    if options.precision == "auto":
        for label, how in found.how.items():
            if how.search != PLAIN:
                faster = f", {gain:.1f} x as fast" if (gain := how.gain.get(str(how.search))) else ""
                print(
                    f"format {label}: searched as {how.search}{faster}; every success is confirmed by the network as "
                    "given, and the key names the format",
                    file=sys.stderr,
                )
    edited = versions.edited(each.cell for each in found.plan)
    if edited:
        print(
            f"note: {', '.join(edited)}: this code is not the one that golden verdicts vouch for; its numbers have "
            "keys of their own until 'make vouch'",
            file=sys.stderr,
        )


def _examination(options: RunOptions, examples: Examples, store: Store) -> Examination | None:
    if options.checks == "none":
        return None
    if options.checks not in _SHARES:
        raise BenchError(f"--checks {options.checks!r} is unknown: give auto, all or none")
    held_out = beyond(options.dataset, options.n, HELD_OUT, data=options.data)
    return Examination(store, store.aside(), Images(examples, held_out), options.device)


def _admitted(plan: Sequence[Planned], examination: Examination, options: RunOptions) -> list[Planned]:
    """The plan without the cells of defenses that a check blocks; every alarm is printed."""
    despite = {name.strip().upper() for name in options.despite.split(",") if name.strip()}
    threats = {planned.cell.threat for planned in plan}
    blocked = set()
    for defense in {planned.cell.defense.label: planned.cell.defense for planned in plan}.values():
        for finding in examination.before(defense, threats):
            if not finding.passed and not finding.idle:
                print(f"{finding.verdict.upper():5s} {defense.label}: {finding.message}", file=sys.stderr)
            if finding.verdict == "block" and finding.id not in despite:
                blocked.add(defense.label)
    return [replace(planned, blocked=planned.cell.defense.label in blocked) for planned in plan]


def _billed(bill: Bill, attacks: float) -> str:
    """What the checks cost beside the attacks, both in seconds of one worker."""
    spent = f"preflight {bill.preflight:.1f} s, probes {bill.probes:.1f} s, replay {bill.replay:.1f} s"
    share = f": {100 * bill.total / (bill.total + attacks):.1f} % of this run's {bill.total + attacks:.0f} s of work"
    return f"checks: {spent}{share}"


def plan(options: RunOptions) -> int:
    """Say what a run would compute and about how long it would take."""
    from bench.calibrate import seconds_per_pass
    from bench.executors.task import passes

    known, examples, store = _resolve(options)
    plan = _in_formats(known.plan, options, examples, store, measure=False).plan
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


def _resolve(options: RunOptions) -> tuple[Recognized, Examples, Store]:
    """Everything that can be wrong with the request is found here, before anything is computed."""
    if options.precision not in precision.PRECISIONS:
        raise BenchError(f"--precision {options.precision!r} is unknown: give {' or '.join(precision.PRECISIONS)}")
    store = Store(options.results)
    matrix.check_names(options.defenses, options.attacks)
    chosen = matrix.threats(
        options.threat, options.eps, options.attacks, HEADLINE, lambda family: threat(family, options.dataset)
    )
    examples = load(options.dataset, "test", n=options.n, data=options.data)
    say_order_of_classes(options.dataset)
    request = matrix.MatrixRequest(
        options.defenses,
        options.attacks,
        chosen,
        options.seed,
        options.draws,
        options.batch,
        options.weights,
    )
    plan = matrix.build(request, examples)
    if options.corruptions is not None:
        found = matrix.defenses(options.defenses, examples, options.weights)
        plan += shifts.build(ShiftRequest(options.corruptions, options.data), found, examples, request)
    if not plan:
        raise BenchError("--attacks none leaves nothing to do: name attacks, or --corruptions FOLDER")
    known = recognized(matrix.labeled(plan, options.label), store)
    for label in known.changed:
        print(f"note: {label}: the same file, other answers than before: computed anew", file=sys.stderr)
    return known, examples, store


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
