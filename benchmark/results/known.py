"""What is known of a defense beyond the attacks that were run here: archives of adversarial examples by others.

An archive was made against one defense, so it is in no worst case seen, unseen or all, and in no rank. It counts into
the best known accuracy, which is never above the worst case over the attacks.
"""

from __future__ import annotations

import numpy as np

from bench.results.accuracy import NO_ARCHIVE, Column, DefenseRow, Score
from bench.results.judging import Judge
from bench.results.outcome import Done
from bench.results.stats import sign_flip
from bench.threats import ThreatModel

# Of the test whether an archive breaks more of a stochastic defense than the attacks here.
_LEVEL = 0.01


def best_known(row: DefenseRow, judge: Judge, threat: ThreatModel | None = None) -> Score:
    """Return the worst case over all attacks and all archives of others; without an archive there is none.

    Args:
        row: a defense and its results.
        judge: how its draws are judged.
        threat: only what was made under this threat model; by default everything.
    """
    archives = [column for column in row.imported if threat in (None, column.threat)]
    return row.lowest(judge, threat) if archives else Score("skipped", reason=NO_ARCHIVE)


def threats(row: DefenseRow) -> list[ThreatModel]:
    """Return the threat models of the archives of a row, each once."""
    return list(dict.fromkeys(column.threat for column in row.imported))


def beyond(row: DefenseRow, archive: Column) -> int | None:
    """Return how many images an archive broke that no attack here did under its threat model.

    For a stochastic defense they are the drop below the best attack, in images, if an exact paired test sees one at the
    level .01, else 0. `None` where nothing can be compared.
    """
    attacks = [_outcome(row, column) for column in row.attacked if column.threat == archive.threat]
    counts = [each.verdicts.adversarial.astype(np.int64) for each in attacks if each is not None]
    outcome = _outcome(row, archive)
    if outcome is None or not counts:
        return None
    found = outcome.verdicts.adversarial.astype(np.int64)
    if not row.defense.stochastic:
        return int((np.stack(counts).min(axis=0) > found).sum())
    # Of one attack: the least of several noisy counts is below what any of them reaches.
    lost = min(counts, key=lambda each: int(each.sum())) - found
    return round(float(lost.sum()) / row.draws) if lost.sum() > 0 and sign_flip(lost) < _LEVEL else 0


def lowered_by(row: DefenseRow, judge: Judge) -> tuple[str, ...]:
    """Return who made the archives that leave an image fewer correct draws than every attack here."""
    counts = row.least_counts(row.attacked, judge)
    lower = []
    for column in row.imported:
        held = row.least_counts([column], judge)
        lower += [source(row, column)] if held is not None and (counts is None or (held < counts).any()) else []
    return tuple(dict.fromkeys(lower))


def source(row: DefenseRow, archive: Column) -> str:
    """Return who made an archive, as one printable line; its label if nobody said."""
    told = str(row.results[archive].cell.attack.config.get("source", "")) if archive in row.results else ""
    return "".join(char for char in " ".join(told.split()) if char.isprintable()) or archive.attack


def _outcome(row: DefenseRow, column: Column) -> Done | None:
    result = row.results.get(column)
    return result.outcome if result is not None and isinstance(result.outcome, Done) else None
