"""The way from options to results: fill the matrix of defenses x attacks, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from bench.api.arguments import checked
from bench.api.asked import Asked, resolve, waived, workers
from bench.api.results import Results
from bench.catalogue import versions
from bench.catalogue.options import settled
from bench.checks.examination import Examination, ExaminedImages
from bench.errors import BenchError
from bench.harness import appraisal, precision
from bench.harness.formats import PLAIN
from bench.harness.pace import Pace
from bench.harness.run import Work, lacking, leaves, open_in, pending
from bench.harness.run import run as compute
from bench.harness.share import Portion
from bench.harness.watcher import Watcher
from bench.machine.isolation import isolated
from bench.results.cell import Cell, Planned

Of = TypeVar("Of")


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


def watched(watcher: Watcher | None, work: Callable[[Watcher], Of]) -> Of:
    """Do some work with a watcher; without one, show a bar or lines on the error stream."""
    if watcher is not None:
        return work(watcher)
    from bench.report.live.progress import Progress

    with Progress() as progress:
        return work(progress)


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
    despite = waived(asked.options)
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
