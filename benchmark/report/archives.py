"""What the archives of others leave of a defense, as lines."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results import known
from bench.results.accuracy import Column, DefenseRow, Score, defense_rows
from bench.results.cell import Result


def render(results: Sequence[Result]) -> str:
    """Return a line per archive, and the best known accuracy under each of their threat models."""
    lines = []
    for row in defense_rows(results):
        lines += [_archive(row, column) for column in row.imported]
        for threat in known.threats(row):
            judge = row.judges[0]
            score = known.best_known(row, judge, threat)
            lines.append(f"{row.defense.label}, best known under {threat}: {_shown(row, score)} ({judge.name})")
    return "\n".join(lines)


def _archive(row: DefenseRow, column: Column) -> str:
    covers = row.results[column].cell.attack.config.get("covers", "?")
    source = known.source(row, column)
    who = f", by {source}" if source != column.attack else ""
    line = f"{column.attack} ({column.threat}){who}, {covers} of {row.slice.n} images"
    line += f": {_shown(row, row.score(column, row.judges[0]))}"
    more = known.beyond(row, column)
    if more is None or row.blocks:
        return f"{line}; no attack was run here under {column.threat}" if more is None and not row.blocks else line
    return f"{line}; broke {more or 'no'} image{'s' * (more != 1)} that no attack here broke"


def _shown(row: DefenseRow, score: Score) -> str:
    # A blocked defense gets no number anywhere.
    if row.blocks:
        return f"BLOCK: {'; '.join(row.blocks)}"
    if score.accuracy is None:
        return {"failed": "FAIL", "missing": "..."}.get(score.state, "-") + f" ({score.reason})"
    low, high = score.accuracy.interval
    bound = "" if score.accuracy.complete else "<= "
    return f"{bound}{100 * score.accuracy.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
