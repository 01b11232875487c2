"""What stands at one place of a figure: a number with its marks, or a short word that says why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import BenchError, unknown
from bench.report.plain import flat
from bench.report.render import ALARM, BOUND, SEEN
from bench.report.tables import part_of
from bench.results.accuracy import DefenseRow, Score, defense_rows
from bench.results.cell import Result, Slice
from bench.results.judging import Accuracy, Judge
from bench.results.known import best_known

BLOCKED = "BLOCK"
_WORDS = {"skipped": "skipped", "failed": "FAIL", "blocked": BLOCKED, "missing": "missing"}

# What each mark means, for the remarks below a figure.
MARKS = {
    SEEN: "seen: the defense was trained on this threat at this eps or a larger one",
    BOUND: "an upper bound: cells of this worst case failed, are missing or found no gradient",
    ALARM: "flagged by a check",
    "skipped": "not defined for this defense, or there is no such attack",
    "FAIL": "the cell broke and counts as nothing",
    BLOCKED: "a check forbids a number here",
    "missing": "not computed yet, or never asked of this defense",
}


@dataclass(frozen=True)
class Place:
    """One place of a figure.

    Attributes:
        accuracy: `None` where there is no number.
        word: then why: `skipped`, `FAIL`, `BLOCK` or `missing`.
        seen: whether the number belongs to a threat that was seen in training.
        alarmed: whether a check flags it.
    """

    accuracy: Accuracy | None
    word: str = ""
    seen: bool = False
    alarmed: bool = False

    @property
    def text(self) -> str:
        """Return the number in percent with its marks, or the word."""
        if self.accuracy is None:
            return self.word
        bound = "" if self.accuracy.complete else BOUND
        return f"{bound}{100 * self.accuracy.value:.1f}{SEEN * self.seen}{ALARM * self.alarmed}"

    @property
    def interval(self) -> str:
        """Return the ends of the interval in percent; nothing where there is no number."""
        if self.accuracy is None:
            return ""
        low, high = self.accuracy.interval
        return f"[{100 * low:.1f}, {100 * high:.1f}]"

    @property
    def marks(self) -> list[str]:
        """Return the marks and words that want an explanation."""
        if self.accuracy is None:
            return [self.word]
        used = {SEEN: self.seen, BOUND: not self.accuracy.complete, ALARM: self.alarmed}
        return [mark for mark, holds in used.items() if holds]


def place(row: DefenseRow, score: Score, *, seen: bool = False) -> Place:
    """Return what a figure shows of a score: never a number of a defense that a check blocks."""
    if row.blocks:
        return Place(None, BLOCKED)
    if score.accuracy is None:
        return Place(None, _WORDS.get(score.state, score.state))
    return Place(score.accuracy, "", seen, score.alarmed)


def legend(places: Sequence[Place]) -> list[str]:
    """Return the explanations of all marks and words that some places have."""
    used = dict.fromkeys(mark for each in places for mark in each.marks)
    return [f"{mark}{':' if mark.isalpha() else ''} {about}." for mark, about in MARKS.items() if mark in used]


def known_below(rows: Sequence[DefenseRow], judge: str) -> tuple[str, list[Place]]:
    """Return a line on the defenses of which archives of others leave less than the worst case shown, and its numbers.

    Args:
        rows: of a figure without these archives.
        judge: as of `judged`.
    """
    told, places = [], []
    for row in rows:
        for each in judged(row, judge) if row.imported and not row.blocks else ():
            best, worst = best_known(row, each), row.worst("all", each).accuracy
            if best.accuracy is None or (worst is not None and best.accuracy.value >= worst.value):
                continue
            places.append(place(row, best))
            told.append(f"{flat(row.defense.label)} ({places[-1].text}{f' {each.name}' if row.draws > 1 else ''})")
    return (f"Archives of others leave less of: {', '.join(told)}; see the table." if told else ""), places


def part_shown(left_out: int) -> str:
    """Return the sentence on worst cases over a part of the attacks that are stored; empty if all are there."""
    told = part_of(left_out)
    return f"{told[0].upper()}{told[1:]}." if left_out else ""


def rows_of(results: Sequence[Result]) -> list[DefenseRow]:
    """Return the rows of one set of images and one seed.

    Raises:
        BenchError: no results, or results of several.
    """
    rows = defense_rows(results)
    require_one(dict.fromkeys((row.slice, row.seed) for row in rows))
    return rows


def require_one(found: Sequence[tuple[Slice, int]] | dict[tuple[Slice, int], None]) -> None:
    """Raise a BenchError unless these are one set of images with one seed."""
    if len(found) == 1:
        return
    if not found:
        raise BenchError("there are no results to draw: run some, or choose others")
    held = "; ".join(f"{flat(part.dataset)} {flat(part.split)} n={part.n} seed {seed}" for part, seed in found)
    raise BenchError(
        f"a figure shows one set of images and one seed, these results hold {held}: choose with --dataset, or draw "
        "each of Results.groups()"
    )


def title_of(row: DefenseRow) -> str:
    """Return the images that a figure is about."""
    return f"{flat(row.slice.dataset)} {flat(row.slice.split)}, n = {row.slice.n}, seed {row.seed}"


def judged(row: DefenseRow, judge: str) -> list[Judge]:
    """Return the judges whose numbers a figure shows of a row.

    Args:
        row: the defense.
        judge: a rule or a name; empty for the headline and the strictest, as in the table. A defense that has no
            such judge, because it is deterministic, keeps its only one.
    """
    if not judge:
        return [each for each in row.judges if each.rule in ("mean", "worst")]
    chosen = [each for each in row.judges if judge in (each.rule, each.name)]
    return chosen or ([row.judges[0]] if row.draws == 1 else [])


def require_judge(rows: Sequence[DefenseRow], judge: str) -> None:
    """Raise a BenchError if no row has this judge, or one cannot have it."""
    known = dict.fromkeys(name for row in rows for each in row.judges for name in (each.rule, each.name))
    if judge and judge not in known:
        raise unknown("judge of these results", judge, known)
    # To show another judge of these instead would overstate them, to leave them out would hide them.
    lacking = [row.defense.label for row in rows if judge and not judged(row, judge)]
    if lacking:
        raise BenchError(f"{flat(lacking[0])!r} has too few draws to be judged by {judge!r}: choose another judge")
