"""The columns of a table of accuracies by name, and a choice among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, unknown
from bench.results.accuracy import WORST_CASES, Column, DefenseRow, Score, Which
from bench.results.judging import Judge
from bench.results.known import best_known
from bench.results.outcome import Done
from bench.threats import CORRUPTION, ThreatModel

STANDARD, MEAN = "standard", "mean"
# Between an attack and the threat model that tells it from the same attack under others.
AT = "@"
# A comma outside brackets: parameters of an attack have commas of their own.
_COMMA = re.compile(r",(?![^\[\]]*\])")


@dataclass(frozen=True)
class Place:
    """One column of accuracies: the standard accuracy, an attack, a worst case, or a corruption.

    Attributes:
        name: `standard`, `pgd-20`, `worst-seen`, `corruption-mean`.
        header: the lines above it.
        columns: the results behind it; for a corruption, one for each severity.
        which: for a worst case, over which attacks.
        known: for what is best known, archives of others included, under which threat model.
    """

    name: str
    header: tuple[str, ...]
    columns: tuple[Column, ...] = ()
    which: Which | None = None
    known: ThreatModel | None = None

    @property
    def attacked(self) -> Column | None:
        """Return the attack and threat model of the column, if it is of a single one."""
        return self.columns[0] if self.which is None and self.columns and not self.shifted else None

    @property
    def imported(self) -> bool:
        """Return whether it is of an archive of others, which was made against one defense."""
        return bool(self.columns) and self.columns[0].imported

    @property
    def known_draws(self) -> bool:
        """Return whether it is of an attack that knew the draws of the evaluation, which no other column allows."""
        return bool(self.columns) and self.columns[0].known_draws

    @property
    def shifted(self) -> bool:
        """Return whether it is of corruptions, which have no adversary."""
        return bool(self.columns) and self.columns[0].threat.is_shift

    @property
    def names(self) -> tuple[str, ...]:
        """Return every name that chooses it: `pgd-20`, `pgd-20@Linf` and `pgd-20@Linf:8/255`."""
        if self.which is not None:
            return self.name, "worst"
        threat = self.attacked.threat if self.attacked is not None else self.known
        if threat is None:
            return (self.name,)
        return self.name, f"{self.name}{AT}{threat.family}", f"{self.name}{AT}{threat}"

    def score(self, row: DefenseRow, judge: Judge) -> Score:
        if self.which is not None:
            return row.worst(self.which, judge)
        if self.known is not None:
            return best_known(row, judge, self.known)
        if self.attacked is not None:
            return row.score(self.attacked, judge)
        return row.corrupted(self.columns, judge) if self.shifted else row.standard(judge)

    def seen(self, row: DefenseRow) -> bool:
        """Return whether it is of an attack under a threat model that the defense was trained on."""
        return self.attacked is not None and row.seen(self.attacked)

    def counts(self, row: DefenseRow) -> NDArray[np.int64] | None:
        """Return the correct draws of each example that its headline accuracy is the mean of; `None` if there are none.

        For a corruption they are summed over its severities. Of archives of others there are none: defenses that did
        not get the same archives cannot be compared.
        """
        if self.known is not None or self.imported:
            return None
        if self.which is not None:
            worst = row.worst_counts(self.which)
            return None if worst is None else worst.astype(np.int64)
        wanted = self.columns or row.columns
        done = [outcome for outcome in (_outcome(row, column) for column in wanted) if isinstance(outcome, Done)]
        if not done or (self.columns and len(done) < len(self.columns)):
            return None
        if not self.columns:
            return done[0].verdicts.clean.astype(np.int64)
        total: NDArray[np.int64] = np.sum([each.verdicts.adversarial.astype(np.int64) for each in done], axis=0)
        return total


def _outcome(row: DefenseRow, column: Column) -> object:
    result = row.results.get(column)
    return None if result is None else result.outcome


def archives(rows: Iterable[DefenseRow]) -> tuple[Column, ...]:
    """Return the columns of archives of others, each once; a row has those that were made against its defense."""
    return tuple(dict.fromkeys(column for row in rows for column in row.imported))


def places(row: DefenseRow, imported: Sequence[Column] = ()) -> tuple[Place, ...]:
    """Return the columns of a table in their order; every row of a slice has the same.

    Args:
        row: any row of the slice.
        imported: the columns of `archives` of all its rows.
    """
    known = dict.fromkeys(column.threat for column in imported)
    attacked = row.attacked
    shifts = row.corruptions
    severities = tuple(column for columns in shifts.values() for column in columns)
    return (
        Place(STANDARD, (STANDARD,)),
        *(Place(column.attack, (column.attack, str(column.threat)), (column,)) for column in attacked),
        *(Place(f"worst-{which}", ("worst", which), which=which) for which in WORST_CASES if attacked),
        *(
            Place(column.attack, (column.attack, str(column.threat), "draws known"), (column,))
            for column in row.known_draws
        ),
        *(Place(column.attack, (column.attack, str(column.threat)), (column,)) for column in imported),
        *(Place("best-known", ("best known", str(threat)), known=threat) for threat in known),
        *(Place(name, (name, CORRUPTION), tuple(columns)) for name, columns in shifts.items()),
        *([Place(f"{CORRUPTION}-{MEAN}", (MEAN, CORRUPTION), severities)] if shifts else []),
    )


def chosen(every: Sequence[Place], text: str) -> tuple[Place, ...]:
    """Return the columns that a list names, in its order; all of them if it is empty.

    Args:
        every: the columns there are.
        text: `standard,pgd-20,autoattack@Linf:8/255,worst-all`; the name of an attack alone takes all of its threat
            models, and `worst` all three worst cases.

    Raises:
        BenchError: no column has a name.
    """
    if not text.strip():
        return tuple(every)
    found: dict[Place, None] = {}
    for name in filter(None, (item.strip() for item in _COMMA.split(text))):
        matching = [place for place in every if name in place.names]
        if not matching:
            # Each name once, with its threat model only where the attack alone would be ambiguous.
            raise unknown("column", name, dict.fromkeys(one for place in every for one in _shown(place, every)))
        found |= dict.fromkeys(matching)
    if not found:
        raise BenchError(f"--columns {text!r} names no column: write standard,autoattack,worst-all")
    return tuple(found)


def _shown(place: Place, every: Sequence[Place]) -> tuple[str, ...]:
    several = sum(other.name == place.name for other in every) > 1
    return place.names if several else place.names[:1]
