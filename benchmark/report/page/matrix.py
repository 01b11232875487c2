"""The heat matrix of the page: defenses by attacks, seen ones apart from unseen ones, with the reasons of every gap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.choice import Place, archives, places
from bench.report.comparison import resolution
from bench.report.plain import flat
from bench.report.tables import GENERAL, make_table
from bench.results.accuracy import DefenseRow, defense_rows
from bench.results.cell import Result
from bench.results.judging import Judge

# The shades of the map: one for every five points.
LEVELS = 21

# Both ends of the ramp, as sRGB, for light and dark pages. One hue that only changes in lightness reads the same with
# any color vision; the ends are so near each other that one ink has contrast enough on all of them.
RAMPS = {"light": ((246, 247, 245), (118, 179, 221)), "dark": ((29, 33, 37), (24, 94, 142))}

# How columns are grouped, in this order.
_SEEN = "seen by some"
_UNSEEN = "unseen by all"
_WORST = "worst case"
_KNOWN_DRAWS = "draws known: not comparable"
_OTHERS = "archives of others"
_SHIFTED = "no adversary"
# Worst cases beside standard accuracy, where a phone shows them without scrolling: they are what the rest comes to.
_GROUPS = ("", _WORST, _SEEN, _UNSEEN, _KNOWN_DRAWS, _OTHERS, _SHIFTED)

_FOOTNOTE = re.compile(r"\[\d+\] ")
_WORDS = {"failed": "FAIL", "blocked": "BLOCK", "skipped": "–"}


@dataclass(frozen=True)
class Entry:
    """One place of the matrix.

    Attributes:
        text: the accuracy in percent, or `FAIL`, `BLOCK`, `…` (missing), `–` (skipped).
        state: `done`, `partial`, `skipped`, `failed`, `missing` or `blocked`.
        interval: `46.1–63.0`; empty where there is no number.
        level: the shade, 0 to 20; -1 where there is no number.
        seen: whether the defense was trained on the threat.
        bound: whether the number is only an upper bound.
        alarmed: whether a check flags the number.
        note: the number of the footnote that says why there is no number, or what it bounds; 0 for none.
        reason: the text of this footnote.
        anchor: the first 16 digits of the key of its cell; empty where there is none.
    """

    text: str
    state: str
    interval: str = ""
    level: int = -1
    seen: bool = False
    bound: bool = False
    alarmed: bool = False
    note: int = 0
    reason: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Line:
    """A defense as one judge sees it.

    Attributes:
        label: of the defense.
        judge: `mean-of-10`.
        trained_on: the threats of its training.
        first: whether it is the first line of its defense.
        entries: as many as the matrix has columns.
    """

    label: str
    judge: str
    trained_on: str
    first: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Group:
    """Columns that belong together; each has a name and, beneath it, a threat."""

    title: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Matrix:
    """The matrix of one set of images.

    Attributes:
        groups: standard accuracy, worst cases, seen, unseen, known draws, archives of others, corruptions; those
            without columns are left out.
        lines: from top to bottom.
        footnotes: reasons, by number from 1.
        notes: what else the reader has to know.
    """

    groups: tuple[Group, ...]
    lines: tuple[Line, ...]
    footnotes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def width(self) -> int:
        return sum(len(group.columns) for group in self.groups)

    @property
    def edges(self) -> frozenset[int]:
        """Return the columns, from 0, that begin a group."""
        starts, at = [], 0
        for group in self.groups:
            starts.append(at)
            at += len(group.columns)
        return frozenset(starts)


def matrix(results: Sequence[Result], left_out: int = 0) -> Matrix:
    """Return the matrix of the results on one set of images with one seed; `left_out` as of `make_table`."""
    table = make_table(results, left_out=left_out)
    rows = defense_rows(results)
    # The names as the table writes them: on one line, with the mark of an attack that has no power here.
    heads = dict(zip(places(rows[0], archives(rows)), table.header[2:], strict=True))
    grouped = {title: [place for place in heads if _group(place, rows) == title] for title in _GROUPS}
    groups = tuple(
        Group(title, tuple(_named(place, heads[place]) for place in found)) for title, found in grouped.items() if found
    )
    notes: dict[str, int] = {}
    lines = []
    for row in rows:
        for at, judge in enumerate(shown_judges(row)):
            entries = tuple(_entry(place, row, judge, notes) for found in grouped.values() for place in found)
            trained_on = ", ".join(map(str, row.defense.trained_on))
            lines.append(Line(row.defense.label, judge.name, trained_on, at == 0, entries))
    said = {*GENERAL, resolution(rows[0].slice.n)}
    about = tuple(note for note in table.notes if not _FOOTNOTE.match(note) and note not in said)
    return Matrix(groups, tuple(lines), tuple(notes), about)


def _group(place: Place, rows: Sequence[DefenseRow]) -> str:
    """Return the title of the group that a column belongs to."""
    if place.which is not None:
        return _WORST
    if place.known is not None or place.imported:
        return _OTHERS
    if place.known_draws:
        return _KNOWN_DRAWS
    if place.shifted:
        return _SHIFTED
    if place.attacked is None:
        return ""
    return _SEEN if any(place.seen(row) for row in rows) else _UNSEEN


def _named(place: Place, head: Sequence[str]) -> tuple[str, str]:
    if place.which is not None:
        return place.which, "attacks"
    return head[0], head[1] if len(head) > 1 else "no attack"


def shown_judges(row: DefenseRow) -> list[Judge]:
    """Return the headline judge and the strictest one; the others stand in the CSV file."""
    return [judge for judge in row.judges if judge.rule in ("mean", "worst")]


def _entry(place: Place, row: DefenseRow, judge: Judge, notes: dict[str, int]) -> Entry:
    result = row.results.get(place.attacked) if place.attacked is not None else None
    seen, anchor = place.seen(row), result.cell.key[:16] if result is not None else ""
    if row.blocks:
        # Before the accuracy is looked at: a blocked defense has no number in any output.
        return _without("blocked", "; ".join(row.blocks), notes, seen, anchor)
    score = place.score(row, judge)
    if score.accuracy is None:
        return _without(score.state, score.reason, notes, seen, anchor)
    low, high = score.accuracy.interval
    reason = flat(score.reason) if score.state == "partial" else ""
    return Entry(
        f"{100 * score.accuracy.value:.1f}",
        score.state,
        interval(low, high),
        level(score.accuracy.value),
        seen,
        not score.accuracy.complete,
        score.alarmed,
        notes.setdefault(reason, len(notes) + 1) if reason else 0,
        reason,
        anchor,
    )


def _without(state: str, reason: str, notes: dict[str, int], seen: bool, anchor: str) -> Entry:
    reason = flat(reason)
    note = notes.setdefault(reason, len(notes) + 1)
    return Entry(_WORDS.get(state, "…"), state, seen=seen, note=note, reason=reason, anchor=anchor)


def level(share: float) -> int:
    """Return the shade of an accuracy in [0, 1]."""
    return round(share * (LEVELS - 1))


def interval(low: float, high: float) -> str:
    """Return an interval of shares in percent, `46.1–63.0`."""
    return f"{100 * low:.1f}–{100 * high:.1f}"


def shades(mode: str) -> list[str]:
    """Return the color of every level, as `#rrggbb`, of the `light` or the `dark` page."""
    low, high = RAMPS[mode]
    mixed = [[a + (b - a) * step / (LEVELS - 1) for a, b in zip(low, high, strict=True)] for step in range(LEVELS)]
    return [f"#{''.join(f'{round(part):02x}' for part in color)}" for color in mixed]
