"""The points of a history: each accuracy, what changed since the one before it, and the paired test between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.report.gate import compare
from bench.report.gate_report import GateRow
from bench.report.history import LETTERS, Change, History, HistoryRow, Place, Point, Stage, Verdict
from bench.report.plain import flat
from bench.results.cell import Cell, Result
from bench.results.judging import accuracy_of, judges
from bench.results.outcome import Done, Failed, Skipped


def follow(stages: Sequence[Stage], *, alpha: float = 0.01, min_effect: float = 0.01) -> History:
    """Follow every accuracy through the stages.

    Args:
        stages: the oldest first.
        alpha: chance of a false alarm per step and direction, in (0, 1).
        min_effect: the smallest difference worth a mark, in [0, 1].
    """
    points: dict[Place, list[Point]] = {}
    before: dict[Place, Result] = {}
    notes: dict[str, None] = {}
    for at, stage in enumerate(stages):
        if stage.trouble:
            notes[f"{at + 1} ({flat(stage.name)}) cannot be read: {flat(stage.trouble)}"] = None
        held = _by_place(stage.results, notes, f"{at + 1} ({flat(stage.name)})")
        blocked = _blocked(stage.results)
        found = {place: _measured(at, place, result, blocked) for place, result in held.items()}
        now = {place: held[place] for place, point in found.items() if point.state == "done"}
        tests = _tests(before, now, notes, f"{at + 1} ({flat(stage.name)})", alpha, min_effect)
        for place, point in found.items():
            points.setdefault(place, []).append(_moved(point, place, before.get(place), held[place], tests.get(place)))
        before |= now
    rows = tuple(HistoryRow(place, tuple(each)) for place, each in _ordered(points))
    return History(tuple(stages), rows, tuple(notes))


def _ordered(points: dict[Place, list[Point]]) -> Iterable[tuple[Place, list[Point]]]:
    """Return the rows by table and defense, in order of first appearance, the standard accuracy first."""
    first: dict[tuple[Any, ...], int] = {}
    for place in points:
        for part in (place[:3], place[:4]):
            first.setdefault(part, len(first))
    order = {place: index for index, place in enumerate(points)}

    def key(item: tuple[Place, list[Point]]) -> tuple[int, int, bool, int]:
        place = item[0]
        return first[place[:3]], first[place[:4]], place.attack != "", order[place]

    return sorted(points.items(), key=key)


def _by_place(results: Sequence[Result], notes: dict[str, None], name: str) -> dict[Place, Result]:
    """Return the result of each place; of several that with most images; finished ones have standard accuracy."""
    found: dict[Place, Result] = {}
    for result in sorted(results, key=lambda each: -each.cell.slice.n):
        cell = result.cell
        place = _place(cell)
        if place in found:
            notes[f"{name} holds several numbers of images: of each cell the one with most is shown"] = None
            continue
        found[place] = result
        if isinstance(result.outcome, Done):
            found.setdefault(_standard(place), result)
    return found


def _place(cell: Cell) -> Place:
    part = cell.slice
    return Place(part.dataset, part.split, cell.seed, cell.defense.label, cell.attack.label, str(cell.threat))


def _standard(place: Place) -> Place:
    return place._replace(attack="", threat="")


def _blocked(results: Sequence[Result]) -> set[tuple[str, str]]:
    """Return the defenses that a check blocks, by dataset and label: none of their numbers is shown."""
    return {(each.cell.slice.dataset, each.cell.defense.label) for each in results if each.blocked}


def _measured(at: int, place: Place, result: Result, blocked: set[tuple[str, str]]) -> Point:
    if (place.dataset, place.defense) in blocked:
        return Point(at, "blocked", reason="a check forbids a number")
    match result.outcome:
        case Done(verdicts=verdicts, evidence=evidence):
            counts = verdicts.adversarial if place.attack else verdicts.clean
            accuracy = accuracy_of(counts, judges(result.cell.defense.stochastic, result.cell.draws)[0])
            alarmed = any(
                each.alarming and (not place.attack or each.concerns(place.attack)) for each in result.findings
            )
            if place.attack and evidence.unable:
                reason = f"an upper bound: there is no gradient for {', '.join(evidence.unable)}"
                return Point(at, "partial", accuracy, reason, alarmed=alarmed)
            return Point(at, "done", accuracy, alarmed=alarmed)
        case Skipped(reason=reason):
            return Point(at, "skipped", reason=flat(reason))
        case Failed(error=error):
            return Point(at, "failed", reason=flat(error))
    return Point(at, "missing", reason="not computed")


def _tests(
    before: dict[Place, Result],
    now: dict[Place, Result],
    notes: dict[str, None],
    name: str,
    alpha: float,
    min_effect: float,
) -> dict[Place, tuple[GateRow, GateRow]]:
    """Return the gate's row of each place in either direction: did it fall, did it rise?"""
    found: dict[Place, tuple[GateRow, GateRow]] = {}
    for part in dict.fromkeys(place[:3] for place in now):
        places = [place for place in now if place[:3] == part and place.attack and place in before]
        if not places:
            continue
        sides = [before[place] for place in places], [now[place] for place in places]
        reports = [compare(old, new, alpha=alpha, min_effect=min_effect) for old, new in (sides, sides[::-1])]
        for told in reports[0].not_comparable:
            if told.startswith("the candidate holds"):  # weights that changed for some of the cells only
                notes[f"{name}: {flat(told.removeprefix('the candidate '))}"] = None
        by_title = [{row.title: row for row in report.rows} for report in reports]
        for place in places:
            titles = {place: now[place].cell.title, _standard(place): f"{place.defense}, standard accuracy"}
            for each, title in titles.items():
                if each in now and each in before and all(title in rows for rows in by_title):
                    found[each] = (by_title[0][title], by_title[1][title])
    return found


def _moved(point: Point, place: Place, old: Result | None, new: Result, tests: tuple[GateRow, GateRow] | None) -> Point:
    """Return a point with what changed since the number before it, and what the paired test says."""
    if point.accuracy is None or old is None:
        return point
    changed = _changes(old.cell, new.cell, attacked=place.attack != "")
    told: dict[str, Any] = {}
    if tests is not None and point.state == "done":
        fall, rise = tests
        verdict: Verdict = "not seen to move"
        if fall.baseline is None:
            verdict = "not comparable"
        elif fall.verdict == "regression":
            verdict = "fell"
        elif rise.verdict == "regression":
            verdict = "rose"
        told = {"drop": fall.drop, "p": min(fall.adjusted, rise.adjusted), "verdict": verdict}
    return Point(point.at, point.state, point.accuracy, point.reason, changed, alarmed=point.alarmed, **told)


def _changes(old: Cell, new: Cell, *, attacked: bool) -> tuple[Change, ...]:
    """Return what two cells of one place differ in; without an attack nothing of the attack matters."""
    facts: dict[Change, tuple[Any, Any]] = {
        "defense": (old.defense.digest, new.defense.digest),
        "protocol": (old.protocol, new.protocol),
        "images": (old.slice.digest, new.slice.digest),
        "settings": ((old.draws, old.batch), (new.draws, new.batch)),
    }
    if attacked:
        facts["attack"] = ((old.attack.digest, old.attack.config), (new.attack.digest, new.attack.config))
        facts["settings"] = (
            (old.draws, old.batch, old.searched_in),
            (new.draws, new.batch, new.searched_in),
        )
    return tuple(name for name in LETTERS if name in facts and facts[name][0] != facts[name][1])
