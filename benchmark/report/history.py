"""How accuracies moved from one state of a results folder to the next: over commits, runs or folders.

A number is only comparable with the one before it while it is about the same thing. Where the defense, the attack, the
harness's protocol, the images or the settings changed under the same label, the line breaks, and it says why. Two
consecutive numbers are tested image by image as the gate does (`bench.report.gate`), in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.report.columns import PAGE, draw_table, prose, screen_width
from bench.report.plain import flat
from bench.report.render import ALARM, BOUND
from bench.results import csv_file
from bench.results.accuracy import State
from bench.results.cell import Result
from bench.results.judging import Accuracy

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
