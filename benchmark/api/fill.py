"""The way from options to results: fill the matrix of defenses x attacks, step by step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bench.api.arguments import checked
from bench.api.results import Results
from bench.catalogue import study as studies
from bench.catalogue import versions
from bench.catalogue.options import RunOptions, settled, variable
from bench.catalogue.selection import Selection
from bench.catalogue.study import Study
from bench.checks.after import probes
from bench.checks.examination import HELD_OUT, Examination, ExaminedImages
from bench.datasets.examples import Examples
from bench.datasets.load import beyond, load, order_of_classes
from bench.errors import BenchError, unknown
from bench.harness import appraisal, controls, corruptions, matrix, precision
from bench.harness.executors import choose, cores, require_jobs
from bench.harness.formats import PLAIN
from bench.harness.pace import Pace
from bench.harness.recognition import Recognized, recognized
from bench.harness.run import Work, lacking, leaves, open_in, pending
from bench.harness.run import run as compute
from bench.harness.share import Portion, Share
from bench.harness.task import Executor
from bench.harness.watcher import Watcher
from bench.machine.isolation import Workers, isolated
from bench.machine.system import keep_freed
from bench.results.cell import Cell, Planned
from bench.results.store import Store

Of = TypeVar("Of")

# Seconds that loading a defense may take where --timeout does not say; it may download weights.
LOADING = 600.0
# The share of a run's passes that its probes may take; None for as much as they need.
_SHARES: Mapping[str, float | None] = {"auto": probes.BUDGET, "all": None}


@checked
def run(watcher: Watcher | None = None, **options: Any) -> Results:  # noqa: ANN401  (the fields of `RunOptions`)
    """Compute the missing cells of a matrix and return all of it; the same call resumes.

    Args:
        watcher: receives progress; by default a bar on a terminal and in a notebook, else lines.
        **options: the options of `bench run`, by name; `bench run --help` and docs/api.md list them. Defenses,
            attacks and threats may be lists, too.

    Returns:
        Every requested cell, including those that failed or that a check blocks.

    Raises:
        BenchError: a mistake in the request; nothing was computed.
    """
    chosen = settled(options)
    with isolated(workers(chosen)):
        return watched(watcher, lambda who: fill(resolve(chosen, who)))


def workers(options: RunOptions) -> Workers | None:
    """Return the processes in which others' code is loaded, examined and run; `None` where all is done in this one."""
    if options.executor == "local":
        return None
    count = min(options.jobs or cores(), cores())
    return Workers(count, max(1, cores() // count), options.timeout or LOADING, "torch")


def watched(watcher: Watcher | None, work: Callable[[Watcher], Of]) -> Of:
    """Do some work with a watcher; without one, show a bar or lines on the error stream."""
    if watcher is not None:
        return work(watcher)
    from bench.report.live.progress import Progress

    with Progress() as progress:
        return work(progress)


@dataclass(frozen=True)
class Asked:
    """A valid request; nothing is computed yet.

    Attributes:
        options: of the run.
        known: the cells, whose keys cover the answers of users' code.
        examples: the images.
        held_out: other images of the same dataset; `None` if there are none.
        store: where verdicts are kept.
        watcher: receives progress.
    """

    options: RunOptions
    known: Recognized
    examples: Examples
    held_out: Examples | None
    store: Store
    watcher: Watcher

    @property
    def study(self) -> Study | None:
        return studies.read(self.options.study) if self.options.study else None

    def portion(self, plan: Sequence[Planned]) -> Portion | None:
        """Return the tasks of this call, stored or not, of those of a plan; `None` where it is not one share of many.

        Args:
            plan: whatever is blocked or broken in it here counts, too: the shares must be the same on every machine.
        """
        if not self.options.shard:
            return None
        whole = [replace(each, blocked=False, broken="") for each in plan]
        return Share.parse(self.options.shard).portion((*leaves(whole), *self.beside(whole, self.probes(whole))))

    def beside(self, plan: Sequence[Planned], probed: Sequence[probes.Probe]) -> list[Cell]:
        """Return the cells that a run computes and no table shows: the controls of a study, and probes."""
        study = self.study
        return [*(controls.controls(plan, study) if study else ()), *(probe.cell for probe in probed)]

    def probes(self, plan: Sequence[Planned]) -> list[probes.Probe]:
        """Return the probes of the checks after the attacks."""
        if self.options.checks == "none":
            return []
        return probes.plan(plan, self.examples, share=_SHARES[self.options.checks])

    def executor(self, cells: Iterable[Cell]) -> Executor:
        """Choose the executor for the shards of these cells: a single cell of many keeps all processes busy."""
        shards, asked = sum(len(cell.shards) for cell in cells), self.options
        return choose(asked.executor, asked.device, asked.jobs, shards, asked.ray_address, self.watcher.say)

    def in_formats(self, *, measure: bool = True) -> precision.Settled:
        """Return the cells with the format of their queries; `measure`: whether a defense may be timed for that."""

        def place() -> tuple[str, int]:
            executor = self.executor(each.cell for each in self.known.plan)
            keep_freed()  # formats are timed here as the workers will run them
            return executor.device, executor.threads

        return precision.settled(
            self.known.plan,
            self.examples,
            self.store,
            precision=self.options.precision,
            place=place,
            measure=measure,
        )


def fill(asked: Asked) -> Results:
    """Compute the missing cells of a matrix and return every cell; finished cells are not computed again."""
    store, watcher = asked.store, asked.watcher
    watcher.step("timing the formats that defenses may be asked in")
    how = asked.in_formats()
    portion = asked.portion(how.plan)
    work = pending(how.plan, store)
    work = work if portion is None else work.within(portion, store)
    asked.executor(work.cells)  # a device that is not there is a mistake in the request
    # Before anything is written: a mistake in the request must leave the folder as it was.
    plan, pace = appraised(how.plan, work.cells, asked)
    store.require_writable()
    asked.known.remember(store)
    how.remember(store)
    _say_what_is_new(how, asked)
    watcher.step("examining the defenses")
    examined = examination(asked, pace)
    plan = plan if examined is None else admitted(plan, examined, asked, portion)
    _compute(plan, work.admitted(plan), asked, examined, pace, portion)
    # Of a share's cells most are not finished, so nobody knows yet what they took.
    if examined is not None and work.cells and portion is None:
        watcher.say(examined.bill.beside(sum(store.seconds(cell) for cell in work.cells)))
    return Results(tuple(store.result(planned) for planned in plan), store, asked.examples, asked.study)


def resolve(
    options: RunOptions,
    watcher: Watcher,
    selection: Selection | None = None,
    examples: Examples | None = None,
    held_out: Examples | None = None,
    *,
    unloaded: bool = False,
) -> Asked:
    """Resolve and check a request, before anything is computed.

    Args:
        options: of the run.
        watcher: who is told what a user should know.
        selection: what is asked for, where the options do not spell it.
        examples: the images, where the options do not name them.
        held_out: others of the same dataset, beside these.
        unloaded: whether users' files are only named, and none of their code is executed.

    Raises:
        BenchError: the first name, parameter or number that is invalid.
    """
    _require_choices(options)
    store = Store(options.results)
    if selection is None:
        selection = Selection.parse(options.defenses, options.attacks, options.threat, options.eps, options.dataset)
    selection = replace(selection, unloaded=unloaded)
    if examples is None:
        watcher.step(f"reading the images of {options.dataset}")
        examples = load(options.dataset, "test", n=options.n, data=options.data)
        if options.checks != "none":
            # Only the checks look at other images than those of the table.
            held_out = beyond(options.dataset, options.n, HELD_OUT, data=options.data)
        note = order_of_classes(options.dataset)
        if note is not None:
            watcher.say(f"note: {note}")
    how: dict[str, int] = {"seed": options.seed, "draws": options.draws, "batch": options.batch}
    plan = matrix.build(selection, examples, **how, weights=options.weights)
    if options.corruptions is not None:
        shifted = corruptions.ShiftRequest(options.corruptions, options.data)
        plan += corruptions.build(shifted, selection.defense_refs(examples, options.weights), examples, **how)
    if not plan:
        raise BenchError("--attacks none leaves nothing to do: name attacks, or --corruptions FOLDER")
    known = recognized(matrix.labeled(plan, options.label), store)
    for label in known.changed:
        watcher.say(f"note: {label}: the same file, other answers than before: computed anew")
    return Asked(options, known, examples, held_out, store, watcher)


def _require_choices(options: RunOptions) -> None:
    if options.precision not in precision.PRECISIONS:
        raise BenchError(f"--precision {options.precision!r} is unknown: give {' or '.join(precision.PRECISIONS)}")
    if options.checks not in (*_SHARES, "none"):
        raise BenchError(f"--checks {options.checks!r} is unknown: give auto, all or none")
    if options.timeout < 0:
        raise BenchError(f"--timeout {options.timeout} is out of range: give seconds, or 0 for the usual limit")
    # From the environment the address may stay for runs that need no cluster.
    if options.ray_address not in ("", os.environ.get(variable("ray_address"))) and options.executor != "ray":
        raise BenchError(
            f"--ray-address {options.ray_address!r} needs --executor ray: add it, or leave the address out"
        )
    require_jobs(options.jobs)
    _waived(options)
    if options.shard:
        Share.parse(options.shard)
        if options.precision != "float32":
            raise BenchError(
                f"--precision {options.precision} with --shard {options.shard}: each machine would choose its own "
                "format, and their shares would not fit together; leave out --precision"
            )


def _waived(options: RunOptions) -> set[str]:
    """Return the ids of the checks in spite of which cells are computed."""
    named = {name.strip().upper() for name in options.despite.split(",") if name.strip()}
    if named:
        from bench.checks.before.preflight import IDS

        for name in sorted(named - set(IDS)):
            raise unknown("check in --despite", name, IDS)
    return named


def appraised(plan: Sequence[Planned], cells: Sequence[Cell], asked: Asked) -> tuple[list[Planned], Pace]:
    """Load and time every defense once; mark the cells of those that end their process or hang.

    Raises:
        BenchError: a defense does not load, because a bad checkpoint is a mistake in the request, not a failed cell;
            or nothing of the request is left.
    """
    found = appraisal.appraised(cells, asked.examples, asked.executor(cells).device)
    for defense in {cell.defense.label: cell.defense for cell in cells}.values():  # only now: a mistake is one line
        for note in defense.notes:
            asked.watcher.say(f"note: {defense.label}: {note}")
    speeds = {cell.defense.digest: found[cell.defense.label].speed for cell in cells}
    marked = _broken(plan, {label: each.broken for label, each in found.items()})
    tried = [each for each in marked if each.skip is None]
    if tried and all(each.broken for each in tried):
        first = tried[0]
        who = first.cell.attack if first.cell.attack.broken else first.cell.defense
        raise BenchError(f"{who.label}: {first.broken}; nothing else is left to compute, so mend it")
    return marked, Pace({digest: speed for digest, speed in speeds.items() if speed}, asked.options.timeout or None)


def _broken(plan: Sequence[Planned], why: Mapping[str, str]) -> list[Planned]:
    """Mark the cells of defenses, by label, that cannot be computed."""
    return [replace(each, broken=each.broken or why.get(each.cell.defense.label, "")) for each in plan]


def _say_what_is_new(found: precision.Settled, asked: Asked) -> None:
    """Report formats that are not the given one, and code of ours that nobody has vouched for."""
    for label, how in found.how.items() if asked.options.precision == "auto" else ():
        if how.search != PLAIN:
            faster = f", {gain:.1f} x as fast" if (gain := how.gain.get(str(how.search))) else ""
            asked.watcher.say(
                f"format {label}: searched as {how.search}{faster}; every success is confirmed by the network as "
                "given, and the key names the format"
            )
    edited = versions.edited(ref for each in found.plan for ref in (each.cell.defense, each.cell.attack))
    if edited:
        asked.watcher.say(
            f"note: {', '.join(edited)}: this code is not the one that golden verdicts vouch for; its numbers have "
            "keys of their own until 'make vouch'"
        )


def examination(asked: Asked, pace: Pace) -> Examination | None:
    """Return the checks of a run; `None` where none are wanted."""
    options = asked.options
    if options.checks == "none":
        return None
    images = ExaminedImages(asked.examples, asked.held_out)
    return Examination(asked.store, asked.store.aside(), images, options.device, pace)


def admitted(
    plan: Sequence[Planned], examination: Examination, asked: Asked, portion: Portion | None = None
) -> list[Planned]:
    """Examine every defense, report every alarm, and mark the cells of defenses that a check blocks.

    Of a run of many shares only those defenses of which this one has tasks: the others need no answer here.
    """
    needed = None if portion is None else _needed(plan, asked, portion)
    despite = _waived(asked.options)
    threats = {planned.cell.threat for planned in plan}
    able = {each.cell.defense.label: each.cell.defense for each in plan if not each.broken}
    defenses = [defense for label, defense in able.items() if needed is None or label in needed]
    blocked, broken = set(), {}
    for defense, examined in zip(defenses, examination.before(defenses, threats), strict=True):
        broken[defense.label] = examined.broken
        for finding in examined.findings:
            if not finding.passed and not finding.idle:
                asked.watcher.say(f"{finding.verdict.upper():5s} {defense.label}: {finding.message}")
            if finding.verdict == "block" and finding.id not in despite:
                blocked.add(defense.label)
    return _broken([replace(each, blocked=each.cell.defense.label in blocked) for each in plan], broken)


def _needed(plan: Sequence[Planned], asked: Asked, portion: Portion) -> set[str]:
    """Return the labels of the defenses that tasks of a portion are for."""
    needed = set()
    for label in {planned.cell.defense.label for planned in plan}:
        mine = [planned for planned in plan if planned.cell.defense.label == label]
        if any(map(portion.of, (*leaves(mine), *asked.beside(mine, asked.probes(mine))))):
            needed.add(label)
    return needed


def _compute(
    plan: Sequence[Planned],
    work: Work,
    asked: Asked,
    examination: Examination | None,
    pace: Pace,
    portion: Portion | None = None,
) -> None:
    """Compute the table, the controls of a study and the probes of the checks together."""
    store, aside = asked.store, asked.store.aside()
    probed = asked.probes(plan) if examination else []
    missing = lacking(asked.beside(plan, probed), aside)
    missing = missing if portion is None else open_in(portion, missing, aside)
    executor = asked.executor((*work.cells, *missing))
    # Together, so that no worker is idle while the last cells of the table are still running.
    compute(plan, asked.examples, store, executor, asked.watcher, missing, aside, work=work, pace=pace, portion=portion)
    if portion is not None:  # its shards are what it leaves to others
        store.keep_shards()
        aside.keep_shards()
    # Nothing is complete in a share: the checks after the attacks are for the run that follows all of them.
    if examination is not None and portion is None:
        examination.bill.probes = sum(aside.seconds(cell) for cell in missing)
        asked.watcher.step("examining what the attacks found")
        examination.after(plan, probed)
