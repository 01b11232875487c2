"""Ranks of defenses by their worst case; defenses that the test does not separate share a rank."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.results import known
from bench.results.accuracy import Column, DefenseRow, defense_rows
from bench.results.cell import Cell, Result, Slice
from bench.results.judging import Accuracy
from bench.results.stats import holm, two_sided

# The level of the family of all pairwise tests, after Holm's correction.
ALPHA = 0.05


RowId = tuple[Slice, str, int, int]


@dataclass(frozen=True, repr=False)
class Ranked:
    """A defense with its rank.

    Attributes:
        row: the defense and its results, with the columns that it is ranked over.
        accuracy: its worst case over these columns.
        own: its worst case over all attacks that it was run under, including those that others lack.
        rank: 1 + the number of defenses that are significantly better; shared when not separated.
            None if cells of the worst case failed or are missing: an upper bound could only flatter.
        known: the worst case over all attacks and the archives of others, if these lower it; in no rank, because other
            defenses did not get the same archives.
        known_by: who made the archives that lower it.
    """

    row: DefenseRow
    accuracy: Accuracy
    own: Accuracy
    rank: int | None
    known: Accuracy | None = None
    known_by: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<{self.rank or '-'}: {self.row.defense.label}, {100 * self.accuracy.value:.1f} % {self.accuracy.judged}>"
        )


def ranking(results: Sequence[Result]) -> list[Ranked]:
    """Rank the defenses of each slice and seed by worst-case accuracy, best first.

    A defense outranks another only if the exact paired test, two-sided and Holm-adjusted over all
    pairs, separates them at alpha .05. Stochastic defenses enter with mean-of-N. Ranks are made over the
    attacks that all ranked defenses were run under, so one more attack on one of them takes no rank away.
    Defenses without a rank come last; those without any finished cell, and those a check blocks, are left out.
    """
    groups: dict[tuple[Slice, int], list[DefenseRow]] = {}
    for row in defense_rows(in_order(results)):
        groups.setdefault((row.slice, row.seed), []).append(row)
    return [ranked for rows_ in groups.values() for ranked in _ranked(rows_)]


def _ranked(rows_: Sequence[DefenseRow]) -> list[Ranked]:
    # Blocked rows are left out before anything is compared: their columns must not limit the others.
    whole = [row for row in rows_ if not row.blocks]
    own = {row_id(row): row.worst("all", row.judges[0]).accuracy for row in whole}
    others = {row_id(row): _known(row) for row in whole}
    open_ = _over_common(whole)
    found = [(row, accuracy) for row in open_ if (accuracy := row.worst("all", row.judges[0]).accuracy)]
    entrants = [(row, accuracy) for row, accuracy in found if accuracy.complete]
    scores = _in_common_units([row for row, _ in entrants])
    pairs = list(itertools.combinations(range(len(entrants)), 2))
    p_values = [two_sided(scores[i] - scores[j]) for i, j in pairs]
    ranks = [1] * len(entrants)
    for (i, j), p in zip(pairs, holm(p_values), strict=True):
        if p <= ALPHA:
            ranks[j if scores[i].sum() > scores[j].sum() else i] += 1
    unranked = [(row, accuracy) for row, accuracy in found if not accuracy.complete]
    places: list[int | None] = [*ranks, *([None] * len(unranked))]
    ranked = [
        Ranked(row, accuracy, own[row_id(row)] or accuracy, rank, *others[row_id(row)])
        for (row, accuracy), rank in zip([*entrants, *unranked], places, strict=True)
    ]
    return sorted(ranked, key=lambda item: (item.rank is None, -item.accuracy.value))


def _known(row: DefenseRow) -> tuple[Accuracy | None, tuple[str, ...]]:
    """Return the accuracy that archives of others leave, and who made them, if it is lower than under the attacks."""
    judge = row.judges[0]
    worst, best = row.worst("all", judge).accuracy, known.best_known(row, judge).accuracy
    if best is None or (worst is not None and best.value >= worst.value):
        return None, ()
    return best, known.lowered_by(row, judge)


def _over_common(rows_: Sequence[DefenseRow]) -> list[DefenseRow]:
    """Return the rows with the columns that they can be compared over.

    The choice maximizes defenses times attacks: an extra attack on a single defense is left out, and a single
    defense with few attacks does not reduce the others to these. A requested cell that failed or is not
    finished stays, because an attack that crashes must rank nobody higher.
    """
    # Without archives of others, which are made against one defense, and without attackers who knew the draws.
    apart = {row_id(row): {*row.imported, *row.known_draws} for row in rows_}
    rows_ = [
        replace(row, columns=tuple(each for each in row.columns if each not in apart[row_id(row)])) for row in rows_
    ]
    asked = [frozenset(column for column in row.columns if column in row.results) for row in rows_]
    # The candidates: what any two defenses share (one with itself, too), and what all share.
    shared = {one & other for one in asked for other in asked} | {frozenset.intersection(*asked)} if asked else set()

    def compared(columns: frozenset[Column]) -> tuple[int, int]:
        return sum(columns <= own for own in asked) * len(columns), len(columns)

    best = max(shared, key=compared, default=frozenset())
    return [
        replace(row, columns=tuple(column for column in row.columns if column in best or not best <= own))
        for row, own in zip(rows_, asked, strict=True)
    ]


def _in_common_units(rows_: Sequence[DefenseRow]) -> list[NDArray[np.int64]]:
    counted = [(count, row.draws) for row in rows_ if (count := row.worst_counts("all")) is not None]
    return in_common_units([count for count, _ in counted], [draws for _, draws in counted])


def in_common_units(counts: Sequence[NDArray[np.integer[Any]]], draws: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return counts of correct draws on one exact scale, although defenses differ in their numbers of draws."""
    # In whole numbers, because the exact test enumerates sums of integers.
    unit = math.lcm(*draws)
    return [count.astype(np.int64) * (unit // each) for count, each in zip(counts, draws, strict=True)]


def not_outdone(counts: Sequence[NDArray[np.integer[Any]]], draws: Sequence[int]) -> list[bool]:
    """Return, for each of several scores of the same examples, whether no test puts it below the best of them.

    Each is compared with the best by the exact paired test, two-sided and Holm-adjusted over these comparisons.

    Args:
        counts: correct draws per example, each `[n]`.
        draws: out of how many draws, for each.
    """
    if not counts:
        return []
    scores = in_common_units(counts, draws)
    best = max(range(len(scores)), key=lambda at: int(scores[at].sum()))
    others = [at for at in range(len(scores)) if at != best]
    adjusted = dict(zip(others, holm([two_sided(scores[best] - scores[at]) for at in others]), strict=True))
    return [adjusted.get(at, 1.0) > ALPHA for at in range(len(scores))]


def row_id(row: DefenseRow) -> RowId:
    """Return what identifies a row: two defenses of one name may have been run on different images."""
    return row.slice, row.defense.label, row.seed, row.draws


def in_order(results: Iterable[Result]) -> list[Result]:
    """Sort the results in an order that depends on the results alone, not on the order in which they are given."""

    def place(cell: Cell) -> tuple[Any, ...]:
        where = (cell.slice.dataset, cell.slice.split, cell.slice.n, cell.slice.digest)
        what = (cell.attack.label, cell.threat.family, cell.threat.eps)
        return (*where, cell.defense.label, cell.seed, cell.draws, *what)

    return sorted(results, key=lambda result: place(result.cell))


def ranks(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return `ranking` as plain data, the best first; a defense that a check blocks is last, without an accuracy."""
    found = [
        {
            **_place(item.row),
            "rank": item.rank,
            "judged": item.accuracy.judged,
            "draws": item.row.draws,
            "standard": _standard(item.row),
            "accuracy": 100 * item.accuracy.value,
            "low": 100 * item.accuracy.interval[0],
            "high": 100 * item.accuracy.interval[1],
            "complete": item.accuracy.complete,
            "under_all_of_its_own": 100 * item.own.value,
            "best_known": None if item.known is None else 100 * item.known.value,
            "best_known_by": list(item.known_by),
            "over": [f"{column.attack} ({column.threat})" for column in item.row.attacked],
        }
        for item in ranking(results)
    ]
    blocked = [row for row in defense_rows(in_order(results)) if row.blocks]
    return [*found, *({**_place(row), "rank": None, "accuracy": None, "blocked": list(row.blocks)} for row in blocked)]


def _standard(row: DefenseRow) -> float | None:
    """Return the standard accuracy by the judge that ranks, in percent."""
    accuracy = row.standard(row.judges[0]).accuracy
    return None if accuracy is None else 100 * accuracy.value


def _place(row: DefenseRow) -> dict[str, Any]:
    part = row.slice
    return {"defense": row.defense.label, "dataset": part.dataset, "split": part.split, "n": part.n, "seed": row.seed}
