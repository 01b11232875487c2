"""Published values beside what was measured: ours, theirs, the difference, and why it may mean little.

The two were measured on different images, so the interval of their difference is that of two independent samples
(Newcombe 1998). It covers the sampling of images only: a difference between two protocols is a difference of both
the defense and the protocol. There is no difference where ours is blocked, failed, missing or only an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.catalogue.published import PublishedValue
from bench.catalogue.study import Study
from bench.report.columns import PAGE, draw_table, prose, screen_width
from bench.report.plain import flat
from bench.report.render import ALARM
from bench.results.accuracy import WORST_CASES, DefenseRow, Score, State, defense_rows
from bench.results.cell import Result
from bench.results.judging import Accuracy
from bench.results.printed import PrintedNumber
from bench.results.stats import Interval, newcombe

ABOUT = (
    "ours - published: in points, with Newcombe's 95 % interval for two independent samples. It covers the sampling of "
    "images only: where the protocols differ, the difference is of both, the defense and the protocol. A stochastic "
    "defense is judged by mean-of-N. -: there is nothing to compare, for the reason in the note."
)
ABOUT_BOUND = "<=: ours is only an upper bound, so there is no difference."
ABOUT_SECOND_HAND = "?: not verified: second-hand, nobody has read the value in its source."
ABOUT_ALARMED = f"{ALARM} after ours: a check flags the number; see the table."


@dataclass(frozen=True)
class Beside:
    """A published value beside the number measured for the same place.

    Attributes:
        published: the value, with its source and protocol.
        state: of ours: only `done` has a difference.
        ours: what was measured; `None` where nothing was. An upper bound if the state is `partial`.
        reason: why there is no difference.
        alarmed: whether a check flags ours.
    """

    published: PublishedValue
    state: State
    ours: Accuracy | None = None
    reason: str = ""
    alarmed: bool = False

    @property
    def printed(self) -> PrintedNumber:
        """Return the published value as a printed number, which knows what its n allows."""
        return PrintedNumber(self.published.place, self.published.value, self.published.n)

    @property
    def possible(self) -> bool | None:
        """Return whether some k of n rounds to the published value; `None` without n."""
        return self.printed.possible

    @property
    def difference(self) -> float | None:
        """Return ours minus the published value, in [-1, 1]."""
        if self.state != "done" or self.ours is None:
            return None
        return self.ours.value - float(self.published.value) / 100

    @property
    def interval(self) -> Interval | None:
        """Return the 95 % interval of the difference; `None` if n is not known, or cannot be what is stated."""
        n = self.published.n
        if self.difference is None or self.ours is None or n is None or not self.possible:
            return None
        return newcombe(self.ours.value * self.ours.n, self.ours.n, self.printed.successes(n), n)

    @property
    def notes(self) -> list[str]:
        """Return what has to be said beside the numbers, most of all where the two protocols differ."""
        value, n = self.published, self.published.n
        differs = f"differs in protocol: {value.protocol}" if value.protocol else "its protocol is not stated"
        notes = [f"{value.source}; {differs}"]
        if self.possible is False:
            nearest = " and ".join(self.printed.share(k) for k in self.printed.neighbours)
            notes.append(f"{value.value} is no k/{n}: nearest are {nearest}; another n or a typo, so without interval")
        if n is None:
            notes.append("n is not stated: without interval")
        return [*notes, self.reason] if self.reason else notes

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data; accuracies, differences and their intervals in percent and points."""
        gap, ends, ours = self.difference, self.interval, self.ours
        return {
            "published": self.published.to_json(),
            "possible": self.possible,
            "state": self.state,
            "ours": None if ours is None else round(100 * ours.value, 2),
            "ours_low": None if ours is None else round(100 * ours.interval.low, 2),
            "ours_high": None if ours is None else round(100 * ours.interval.high, 2),
            "ours_n": None if ours is None else ours.n,
            "ours_judged": None if ours is None else ours.judged,
            "ours_is_upper_bound": self.state == "partial",
            "flagged": self.alarmed,
            "difference": None if gap is None else round(100 * gap, 2),
            "difference_low": None if ends is None else round(100 * ends.low, 2),
            "difference_high": None if ends is None else round(100 * ends.high, 2),
            "notes": self.notes,
        }


def beside(results: Sequence[Result], study: Study) -> list[Beside]:
    """Return every published value of a study beside ours, in the order of the study.

    A value that was measured on several sets of images, or with several seeds, is there once for each.
    """
    rows = defense_rows(results)
    return [found for value in study.published for found in _beside(value, rows)]


def _beside(value: PublishedValue, rows: Sequence[DefenseRow]) -> list[Beside]:
    named = [row for row in rows if row.defense.label == value.defense]
    if not named:
        return [Beside(value, "missing", reason="this defense is not in this run")]
    there = [row for row in named if row.slice.dataset == value.dataset]
    if not there:
        measured = flat(", ".join(dict.fromkeys(row.slice.dataset for row in named)))
        return [Beside(value, "missing", reason=f"published on {value.dataset}, measured on {measured}")]
    scores = [_score(value, row) for row in there]
    return [Beside(value, each.state, each.accuracy, flat(each.reason), each.alarmed) for each in scores]


def _score(value: PublishedValue, row: DefenseRow) -> Score:
    """Return our number for the place of a published value, by the headline judge."""
    if row.blocks:
        return Score("blocked", reason=f"a check forbids a number: {'; '.join(row.blocks)}")
    judge = row.judges[0]
    if value.column == "standard":
        return row.standard(judge)
    if value.column:
        which = next(each for each in WORST_CASES if value.column == f"worst-{each}")
        return row.worst(which, judge)
    found = [each for each in row.attacked if (each.attack, str(each.threat)) == (value.attack, value.threat)]
    if not found:
        return Score("missing", reason="no such column in this run")
    return row.score(found[0], judge)


def render(found: Sequence[Beside]) -> str:
    """Return the comparison as text for the screen."""
    numbers: dict[str, int] = {}
    lines = [_line(each, numbers) for each in found]
    header = ["defense", "column", "dataset", "published", "n", "ours", "n", "ours - published", "notes"]
    page = screen_width(PAGE)
    text = draw_table(header, lines, screen_width(), right=(3, 4, 5, 6, 7), text=(0, 1), named=2)
    measured = sum(each.ours is not None for each in found)
    about = [] if measured == len(found) else [f"{measured} of {len(found)} have a number of ours among these results."]
    about += [ABOUT]
    about += [ABOUT_BOUND] if any(each.state == "partial" for each in found) else []
    about += [ABOUT_SECOND_HAND] if not all(each.published.verified for each in found) else []
    about += [ABOUT_ALARMED] if any(each.alarmed and each.ours for each in found) else []
    notes = [prose(f"{number}: {note}", page, hang="   ") for note, number in numbers.items()]
    return "\n".join([text, "", *notes, "", *(prose(line, page, hang="") for line in about)])


def _line(each: Beside, numbers: dict[str, int]) -> list[str]:
    value, ours = each.published, each.ours
    # One note per text, numbered by first appearance: many values share a source and a protocol.
    notes = [str(numbers.setdefault(note, len(numbers) + 1)) for note in each.notes]
    return [
        value.defense,
        value.place,
        value.dataset,
        f"{value.value}{'' if value.verified else ' ?'}{f' {ALARM}' if each.possible is False else ''}",
        "-" if value.n is None else str(value.n),
        {"blocked": "BLOCK", "failed": "FAIL"}.get(each.state, "-") if ours is None else _ours(each, ours),
        "-" if ours is None else str(ours.n),
        _difference(each),
        ", ".join(notes),
    ]


def _ours(each: Beside, ours: Accuracy) -> str:
    bound = "<= " if each.state == "partial" else ""
    low, high = ours.interval
    return f"{bound}{100 * ours.value:.1f}{ALARM if each.alarmed else ''} [{100 * low:.1f}, {100 * high:.1f}]"


def _difference(each: Beside) -> str:
    gap, ends = each.difference, each.interval
    if gap is None:
        return "-"
    return f"{100 * gap:+.1f}" if ends is None else f"{100 * gap:+.1f} [{100 * ends.low:+.1f}, {100 * ends.high:+.1f}]"
