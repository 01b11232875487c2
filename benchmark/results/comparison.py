"""Two defenses compared image by image: differences with intervals, exact tests, and what n images resolve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, unknown
from bench.results.accuracy import Column, DefenseRow, Which, defense_rows
from bench.results.cell import Result
from bench.results.outcome import Done, Failed, Skipped
from bench.results.pairing import pairs_of
from bench.results.ranking import ALPHA, in_common_units
from bench.results.stats import Interval, holm, noise_of, paired_difference, smallest_detectable_drop, two_sided

POWER = 0.8
Better = Literal["A", "B", "not separated", "no verdict"]
Counts = NDArray[np.integer]


@dataclass(frozen=True)
class Difference:
    """One number of two defenses, on the same images.

    Attributes:
        name: `standard`, `pgd-20`, `worst-all`.
        threat: the threat model, empty if it is of none or of several.
        n: paired images.
        a: accuracy of the first defense on them, in [0, 1].
        b: of the second.
        interval: 95 %, of `a - b` (`stats.paired_difference`).
        p: of the exact paired test, two-sided.
        adjusted: Holm-adjusted over all numbers compared.
        only_a: images that only the first defense gets right; `None` if one of the defenses is stochastic.
        only_b: likewise.
        smallest: the smallest difference, in [0, 1], that these images would show with 80 % power at the level that
            is left for one of so many numbers; 1 if none.
        bounds: which of `A` and `B` is only an upper bound, since cells failed or are missing, or parts of an attack
            found no gradient.
        flagged: of which of them a check flags the number.
        better: `A`, `B`, or that the test does not separate them; there is no verdict between bounds.
    """

    name: str
    threat: str
    n: int
    a: float
    b: float
    interval: Interval
    p: float
    only_a: int | None
    only_b: int | None
    noise: float
    bounds: str = ""
    flagged: str = ""
    adjusted: float = 1.0
    smallest: float = 1.0
    better: Better = "not separated"

    @property
    def difference(self) -> float:
        return self.a - self.b


def row_of(results: Sequence[Result], label: str) -> DefenseRow:
    """Return the results of one defense.

    Raises:
        BenchError: there is no such defense, it was asked about several sets of images, or a check blocks it.
    """
    rows = [row for row in defense_rows(results) if row.defense.label == label]
    if not rows:
        raise unknown("defense of these results", label, dict.fromkeys(result.cell.defense.label for result in results))
    if len(rows) > 1:
        raise BenchError(f"{label!r} was asked about several sets of images or seeds: choose one with --dataset or n")
    if rows[0].blocks:
        raise BenchError(f"{label!r} has no number to compare: {'; '.join(rows[0].blocks)}")
    return rows[0]


def differences(a: DefenseRow, b: DefenseRow) -> tuple[list[Difference], list[str]]:
    """Compare two defenses in every number that both have; return the differences, and notes on what is left out.

    The worst cases are over the attacks that both were asked for, each over those that it has an outcome of. Seen, and
    unseen, are the threat models that both have seen, and that neither has.

    Raises:
        BenchError: they have no image in common.
    """
    at = pairs_of(a.slice, b.slice)
    if not len(at[0]):
        raise BenchError(f"{a.defense.label!r} and {b.defense.label!r} have no image in common: run both on the same n")
    common = [column for column in a.attacked if column in a.results and column in b.results]
    notes = [] if len(at[0]) == max(a.slice.n, b.slice.n) else [f"only the {len(at[0])} images that both have"]
    pair = _Pair(a, b, at)
    found = [pair.test("standard", clean_counts(a), clean_counts(b))]
    for column in common:
        why = _incomparable(a, b, column)
        notes += [f"{column.attack} ({column.threat}) is left out: {why}"] if why else []
        if not why:
            found.append(pair.of_attack(column))
    lone = [column for column in dict.fromkeys((*a.attacked, *b.attacked)) if column not in common]
    if lone:
        names = ", ".join(f"{column.attack} ({column.threat})" for column in lone)
        notes.append(f"not asked of both, and in no number here: {names}")
    for which in ("seen", "unseen", "all"):
        chosen = [
            column for column in common if which == "all" or a.seen(column) == b.seen(column) == (which == "seen")
        ]
        found.append(pair.worst(which, chosen))
    return _judged([each for each in found if each is not None]), notes


@dataclass(frozen=True)
class _Pair:
    """Two defenses and the indices of the images that both were judged on."""

    a: DefenseRow
    b: DefenseRow
    at: tuple[NDArray[np.int64], NDArray[np.int64]]

    def test(self, name: str, old: Counts | None, new: Counts | None, threat: str = "") -> Difference | None:
        if old is None or new is None:
            return None
        counts = [old[self.at[0]], new[self.at[1]]]
        draws = (self.a.draws, self.b.draws)
        one, other = in_common_units(counts, draws)
        shares = (counts[0] / draws[0]) - (counts[1] / draws[1])
        verdicts = draws == (1, 1)
        return Difference(
            name,
            threat,
            len(shares),
            float(counts[0].mean()) / draws[0],
            float(counts[1].mean()) / draws[1],
            paired_difference(shares),
            two_sided(one - other),
            int((shares > 0).sum()) if verdicts else None,
            int((shares < 0).sum()) if verdicts else None,
            noise_of(shares),
        )

    def of_attack(self, column: Column) -> Difference | None:
        found = self.test(column.attack, _attacked(self.a, column), _attacked(self.b, column), str(column.threat))
        return None if found is None else replace(found, bounds=self._bounds([column]), flagged=self._flagged([column]))

    def worst(self, which: Which, columns: Sequence[Column]) -> Difference | None:
        a, b = (replace(row, columns=tuple(columns)) for row in (self.a, self.b))
        # Of all, because seen and unseen are decided already, for both defenses together.
        found = self.test(f"worst-{which}", a.worst_counts("all"), b.worst_counts("all")) if columns else None
        if found is None:
            return None
        return replace(found, bounds=self._bounds(columns), flagged=self._flagged(columns))

    def _bounds(self, columns: Sequence[Column]) -> str:
        open_ = [any(_open(row, column) for column in columns) for row in (self.a, self.b)]
        return "".join(name for name, is_open in zip("AB", open_, strict=True) if is_open)

    def _flagged(self, columns: Sequence[Column]) -> str:
        return "".join(
            name
            for name, row in zip("AB", (self.a, self.b), strict=True)
            if any(row.score(column, row.judges[0]).alarmed for column in columns)
        )


def clean_counts(row: DefenseRow) -> Counts | None:
    """Return the correct draws of each example without attack, `[n]`; `None` if no cell is finished."""
    done = (result.outcome for result in row.results.values())
    return next((outcome.verdicts.clean for outcome in done if isinstance(outcome, Done)), None)


def _attacked(row: DefenseRow, column: Column) -> Counts | None:
    outcome = row.results[column].outcome
    return outcome.verdicts.adversarial if isinstance(outcome, Done) else None


def _open(row: DefenseRow, column: Column) -> bool:
    """Return whether a cell that was asked for has no outcome that counts, or one without parts of its attack."""
    outcome = row.results[column].outcome
    return bool(outcome.evidence.unable) if isinstance(outcome, Done) else not isinstance(outcome, Skipped)


def _incomparable(a: DefenseRow, b: DefenseRow, column: Column) -> str:
    """Return why two cells of one name are no pair; empty if they are."""
    for name, row in (("A", a), ("B", b)):
        match row.results[column].outcome:
            case Done():
                continue
            case Skipped():
                return f"skipped for {name}"
            case Failed():
                return f"failed for {name}"
        return f"missing for {name}"
    one, other = (row.results[column].cell.attack for row in (a, b))
    # A composite has other parts on a stochastic defense, and is then meant to.
    if a.defense.stochastic == b.defense.stochastic and one.config != other.config:
        return "its parameters differ"
    return ""


def _judged(found: Sequence[Difference]) -> list[Difference]:
    adjusted = holm([each.p for each in found])
    # Bonferroni's level, two-sided: Holm's is never stricter, so the promise holds for every number.
    level = ALPHA / (2 * max(1, len(found)))
    return [
        replace(
            each,
            adjusted=p,
            smallest=smallest_detectable_drop(each.n, level, POWER, noise=each.noise),
            better=_better(each, p),
        )
        for each, p in zip(found, adjusted, strict=True)
    ]


def _better(each: Difference, p: float) -> Better:
    if p > ALPHA:
        return "not separated"
    winner: Better = "A" if each.difference > 0 else "B"
    # The one that is above may really be lower, if it is a bound; the other one can only be lower still.
    return "no verdict" if winner in each.bounds else winner
