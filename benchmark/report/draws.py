"""A stochastic defense as every judge sees it, in one line: how many draws decide, and what is right without attack."""

from __future__ import annotations

from bench.report.plain import flat
from bench.results.accuracy import DefenseRow, Score
from bench.results.judging import Judge


def verdicts_of(row: DefenseRow) -> str:
    """Return the worst case over the attacks of a row under each judge, beside what is right without attack.

    Empty for a deterministic defense, which no draws decide, and for one that a check blocks. An upper bound has its
    `<=`, and a flagged number its `!`, as in a table.
    """
    if not row.defense.stochastic or row.blocks:
        return ""
    many = f"{row.draws} evaluation draws decide each image" if row.draws > 1 else "one draw decides each image"
    return f"{flat(row.defense.label)}: {many}: {', '.join(_judged(row, judge) for judge in row.judges)}"


def _judged(row: DefenseRow, judge: Judge) -> str:
    # Its name holds M; from how many draws it is estimated has to be said.
    name = f"{judge.name} (estimated from {row.draws})" if judge.rule == "resubmission" else judge.name
    return f"{name} {_percent(row.worst('all', judge))} ({_percent(row.standard(judge))} without attack)"


def _percent(score: Score) -> str:
    if score.accuracy is None:
        return {"failed": "FAIL", "blocked": "BLOCK", "skipped": "-"}.get(score.state, "...")
    bound, alarm = "" if score.accuracy.complete else "<= ", "!" if score.alarmed else ""
    return f"{bound}{100 * score.accuracy.value:.1f}{alarm}"
