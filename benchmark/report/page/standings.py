"""The leaderboard of the page: equal ranks stand together; a blocked defense has a reason in place of a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.report.draws import verdicts_of
from bench.report.leaderboard import left_out
from bench.report.page.matrix import interval
from bench.report.plain import flat
from bench.results.accuracy import DefenseRow, defense_rows
from bench.results.cell import Result
from bench.results.judging import Accuracy
from bench.results.ranking import Ranked, in_order, ranking


@dataclass(frozen=True)
class Place:
    """A defense on the leaderboard.

    Attributes:
        rank: 0 where it has none.
        shared: how many defenses share the rank.
        heads: whether it is the first of them.
        label: of the defense.
        judged: by which judge.
        value, interval: its worst case over the attacks that all ranked defenses have, in percent; empty if blocked.
        low, middle, high: the same numbers as percentages of the strip that draws them.
        bound: whether the value is only an upper bound.
        standard: its standard accuracy in percent, with interval.
        own: its worst case over all attacks that it was run under, in percent, where that is lower.
        known: what archives of others leave of it, and who made them, where that is lower still.
        reason: why it is blocked.
    """

    label: str
    judged: str
    rank: int = 0
    shared: int = 1
    heads: bool = True
    value: str = ""
    interval: str = ""
    low: float = 0.0
    middle: float = 0.0
    high: float = 0.0
    bound: bool = False
    standard: str = ""
    own: str = ""
    known: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Standings:
    """The leaderboard of one set of images, best first, and what it leaves out.

    Attributes:
        draws: a line for each stochastic defense: every judge of it, and how many draws decide.
    """

    places: tuple[Place, ...]
    over: tuple[str, ...]
    left_out: tuple[str, ...]
    draws: tuple[str, ...] = ()


def standings(results: Sequence[Result]) -> Standings:
    """Return the leaderboard of the results on one set of images with one seed."""
    found = ranking(results)
    places: list[Place] = []
    for rank, several in groupby(found, key=lambda item: item.rank):
        alike = list(several)
        # Defenses without a rank share nothing, each has its own line.
        shared = len(alike) if rank else 1
        places += [_place(item, shared, heads=not rank or index == 0) for index, item in enumerate(alike)]
    blocked = [row for row in defense_rows(in_order(results)) if row.blocks]
    places += [Place(row.defense.label, row.judges[0].name, reason=flat("; ".join(row.blocks))) for row in blocked]
    ranked = next((item.row for item in found if item.rank), None)
    over = tuple(f"{column.attack} ({column.threat})" for column in ranked.attacked) if ranked else ()
    cell = results[0].cell
    draws = tuple(filter(None, (verdicts_of(item.row) for item in found)))
    return Standings(tuple(places), over, tuple(map(flat, left_out(results, cell.slice, cell.seed))), draws)


def _place(item: Ranked, shared: int, *, heads: bool) -> Place:
    low, high = item.accuracy.interval
    return Place(
        item.row.defense.label,
        item.accuracy.judged,
        item.rank or 0,
        shared,
        heads,
        _percent(item.accuracy),
        interval(low, high),
        round(100 * low, 2),
        round(100 * item.accuracy.value, 2),
        round(100 * high, 2),
        not item.accuracy.complete,
        _standard(item.row),
        _percent(item.own) if item.own.value < item.accuracy.value else "",
        _known(item),
    )


def _known(item: Ranked) -> str:
    if item.known is None:
        return ""
    bound = "" if item.known.complete else "≤ "
    return flat(f"{bound}{_percent(item.known)}, by {'; '.join(item.known_by)}")


def _standard(row: DefenseRow) -> str:
    accuracy = row.standard(row.judges[0]).accuracy
    return _percent(accuracy) if accuracy is not None else ""


def _percent(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.value:.1f}"
