"""How accuracies moved from one state of a results folder to the next: over commits, runs or folders.

A number is only comparable with the one before it while it is about the same thing. Where the defense, the attack, the
harness's protocol, the images or the settings changed under the same label, the line breaks, and it says why. Two
consecutive numbers are tested image by image as the gate does (`bench.report.gate`), in both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.report.columns import PAGE, draw_table, prose, screen_width
from bench.report.gate import compare
from bench.report.gate_report import GateRow
from bench.report.plain import flat
from bench.report.render import ALARM, BOUND
from bench.results import csv_file
from bench.results.accuracy import Accuracy, State, accuracy_of, judges
from bench.results.cell import Cell, Result
from bench.results.outcome import Done, Failed, Skipped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.report.figures.style import Width

Change = Literal["defense", "attack", "protocol", "images", "settings"]
Verdict = Literal["", "fell", "rose", "not seen to move", "not comparable"]

# The letter of each change in the table and the figure, and what it means.
LETTERS: dict[Change, tuple[str, str]] = {
    "defense": ("d", "another defense under the same label: weights, parameters or code"),
    "attack": ("a", "another version of the attack, or other parameters"),
    "protocol": ("p", "another protocol of the harness"),
    "images": ("i", "other images"),
    "settings": ("s", "other draws, shard size or format of the search"),
}
FELL, ROSE, BREAK = "v", "^", "|"
NOTHING: dict[State, str] = {"failed": "FAIL", "blocked": "BLOCK", "skipped": "-", "missing": "..."}

COLUMNS = (
    *("dataset", "split", "seed", "defense", "column", "attack", "threat", "at", "name", "when", "n", "judged"),
    *("accuracy", "low", "high", "outcome", "reason", "changed", "drop", "p", "verdict"),
)
NUMBERS = frozenset({"seed", "at", "n", "accuracy", "low", "high", "drop", "p"})

_ABOUT = (
    "Accuracies in %, with Wilson 95 % intervals: sampling error only. A stochastic defense is judged by mean-of-N. A "
    "number is tested against the one before it, image by image, as the gate does: exact, one-sided in either "
    "direction, Holm-adjusted over the cells of a step."
)


class Place(NamedTuple):
    """A row: a defense under an attack, or without one (`attack` and `threat` empty), on images with a seed."""

    dataset: str
    split: str
    seed: int
    defense: str
    attack: str = ""
    threat: str = ""


@dataclass(frozen=True)
class Stage:
    """A results folder at one time.

    Attributes:
        name: of the folder or commit, or the time of the run.
        when: in ISO format; empty if not known.
        results: what it held.
        trouble: why it could not be read; empty if it could.
    """

    name: str
    when: str = ""
    results: tuple[Result, ...] = field(default=(), repr=False)
    trouble: str = ""


@dataclass(frozen=True)
class Point:
    """One number of a row, or the reason why there is none.

    Attributes:
        at: the index of its stage.
        state: only `done` and `partial` have an accuracy; `partial` is an upper bound.
        accuracy: by the headline judge.
        reason: why there is none, or why it is only a bound.
        changed: what the number is about since the one before it; where it is not empty, the line breaks.
        drop: the accuracy before minus this one over the images that both have, in [-1, 1].
        p: the smaller of the two one-sided p-values, Holm-adjusted.
        verdict: of the paired test; empty without a number before it.
        alarmed: whether a check flags it.
    """

    at: int
    state: State
    accuracy: Accuracy | None = None
    reason: str = ""
    changed: tuple[Change, ...] = ()
    drop: float = 0.0
    p: float = 1.0
    verdict: Verdict = ""
    alarmed: bool = False


@dataclass(frozen=True)
class HistoryRow:
    """A row: its place, and its points by stage; a stage that never asked for it has none."""

    place: Place
    points: tuple[Point, ...]

    def segments(self) -> list[list[Point]]:
        """Return the numbers between two breaks; a stage without a number breaks the line, too."""
        found: list[list[Point]] = []
        last = -2
        for point in self.points:
            if point.accuracy is None:
                continue
            if not found or point.changed or point.at != last + 1 or point.state == "partial":
                found.append([])
            found[-1].append(point)
            last = -2 if point.state == "partial" else point.at
        return found


@dataclass(frozen=True, repr=False)
class History:
    """How accuracies moved; prints as tables.

    Attributes:
        stages: the states of the folder, the oldest first.
        rows: one for each defense and attack that any of them has.
        notes: what has to be known beside.
    """

    stages: tuple[Stage, ...]
    rows: tuple[HistoryRow, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return render(self)

    __str__ = __repr__

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data; accuracies in percent, drops in points."""
        stages = [{"name": each.name, "when": each.when, "trouble": each.trouble} for each in self.stages]
        rows = [
            {**row.place._asdict(), "points": [_point_json(self.stages, point) for point in row.points]}
            for row in self.rows
        ]
        return {"stages": stages, "rows": rows, "notes": list(self.notes)}

    def to_csv(self, path: Path) -> Path:
        """Write every point as a line; accuracies are in percent, as in the leaderboard's file."""
        lines = [_csv_line(self.stages, row.place, point) for row in self.rows for point in row.points]
        csv_file.write(lines, COLUMNS, NUMBERS, path)
        return path

    def plot(self, *, width: Width = "page") -> Figure:
        """Draw the rows, a panel for each defense; `width` is `column`, `page` or inches."""
        from bench.report.figures.history import history

        return history(self, width=width)


def history(stages: Sequence[Stage], *, alpha: float = 0.01, min_effect: float = 0.01) -> History:
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


def render(found: History) -> str:
    """Return a table per set of images and seed: rows are accuracies, columns the stages."""
    width, page = screen_width(), screen_width(PAGE)
    blocks = []
    for part in dict.fromkeys(row.place[:3] for row in found.rows):
        rows = [row for row in found.rows if row.place[:3] == part]
        header = ["defense", "column", *(str(at + 1) for at in range(len(found.stages)))]
        body = [[flat(row.place.defense), column_of(row.place), *_cells(row, len(found.stages))] for row in rows]
        text = draw_table(header, body, width, right=range(2, len(header)), named=2)
        blocks.append(f"{flat(part[0])} {flat(part[1])}, seed {part[2]}\n\n{text}")
    lines = [f"{at + 1}: {stage_name(stage)}" for at, stage in enumerate(found.stages)]
    return "\n\n".join([*blocks, "\n".join(prose(line, page, hang="   ") for line in lines), _legend(found, page)])


def stage_name(stage: Stage) -> str:
    """Return the time and the name of a stage, on one line."""
    when = stage.when[:16].replace("T", " ")
    return flat(f"{when}  {stage.name}" if when and not stage.name.startswith(when) else stage.name)


def column_of(place: Place) -> str:
    """Return the name of a place's column: `pgd-20 (Linf:0.2)` or `standard`."""
    return flat(f"{place.attack} ({place.threat})") if place.attack else "standard"


def _cells(row: HistoryRow, stages: int) -> list[str]:
    points = {point.at: point for point in row.points}
    return [_cell(points[at]) if at in points else "" for at in range(stages)]


def _cell(point: Point) -> str:
    if point.accuracy is None:
        return NOTHING.get(point.state, "...")
    low, high = point.accuracy.interval
    broken = f"{BREAK}{letters(point)} " if point.changed else ""
    bound = f"{BOUND} " if point.state == "partial" else ""
    moved = {"fell": f" {FELL}", "rose": f" {ROSE}"}.get(point.verdict, "")
    shown = f"{broken}{bound}{100 * point.accuracy.value:.1f}{ALARM if point.alarmed else ''}{moved}"
    return f"{shown}\n[{100 * low:.1f}, {100 * high:.1f}]"


def letters(point: Point) -> str:
    """Return a letter for each thing that changed since the number before."""
    return "".join(LETTERS[each][0] for each in point.changed)


def _legend(found: History, page: int | None) -> str:
    points = [point for row in found.rows for point in row.points]
    changed = {change for point in points for change in point.changed}
    states = {point.state for point in points}
    lines = [_ABOUT]
    if changed:
        told = "; ".join(f"{letter}: {what}" for name, (letter, what) in LETTERS.items() if name in changed)
        lines.append(f"{BREAK} the number is of another thing than the one before it. {told}.")
    lines += [f"{FELL} fell, {ROSE} rose."] if any(point.verdict in ("fell", "rose") for point in points) else []
    lines += ["FAIL: the cell broke and counts as nothing."] if "failed" in states else []
    lines += ["BLOCK: a check forbids a number here."] if "blocked" in states else []
    lines += ["-: skipped, the pair has no meaning."] if "skipped" in states else []
    lines += ["...: not computed."] if "missing" in states else []
    lines += [f"{BOUND} an upper bound: a part of the attack has no gradient; it is not tested."] * (
        "partial" in states
    )
    lines += [f"{ALARM} a check flags the number."] * any(point.alarmed for point in points)
    return "\n".join(prose(line, page) for line in [*lines, *found.notes])


def _point_json(stages: Sequence[Stage], point: Point) -> dict[str, Any]:
    accuracy = point.accuracy
    return {
        "at": point.at + 1,
        "name": stages[point.at].name,
        "when": stages[point.at].when,
        "outcome": point.state,
        "reason": point.reason,
        "n": None if accuracy is None else accuracy.n,
        "judged": None if accuracy is None else accuracy.judged,
        "accuracy": None if accuracy is None else round(100 * accuracy.value, 2),
        "low": None if accuracy is None else round(100 * accuracy.interval.low, 2),
        "high": None if accuracy is None else round(100 * accuracy.interval.high, 2),
        "upper_bound": point.state == "partial",
        "flagged": point.alarmed,
        "changed": list(point.changed),
        "drop": round(100 * point.drop, 2) if _tested(point) else None,
        "p": point.p if _tested(point) else None,
        "verdict": point.verdict,
    }


def _tested(point: Point) -> bool:
    return point.verdict not in ("", "not comparable")


def _csv_line(stages: Sequence[Stage], place: Place, point: Point) -> dict[str, str]:
    accuracy = point.accuracy
    return {
        **dict.fromkeys(COLUMNS, ""),
        **{name: str(value) for name, value in place._asdict().items()},
        "column": "attack" if place.attack else "standard",
        "at": str(point.at + 1),
        "name": flat(stages[point.at].name),
        "when": stages[point.at].when,
        **({} if accuracy is None else {"n": str(accuracy.n), "judged": accuracy.judged}),
        **({} if accuracy is None else csv_file.percentages(accuracy)),
        "outcome": point.state,
        "reason": point.reason,
        "changed": " ".join(point.changed),
        "drop": f"{100 * point.drop:.2f}" if _tested(point) else "",
        "p": f"{point.p:.3g}" if _tested(point) else "",
        "verdict": point.verdict,
    }
