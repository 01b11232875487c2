"""One long table of every accuracy of every defense, as rows, a data frame or a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results import csv_file, known
from bench.results.accuracy import WORST_CASES, Column, DefenseRow, Score, Which, defense_rows
from bench.results.cell import Result
from bench.results.judging import Judge
from bench.results.outcome import Cost, Done
from bench.results.ranking import RowId, in_order, ranking, row_id

if TYPE_CHECKING:
    import pandas as pd


COLUMNS = (
    "dataset",
    "split",
    "n",
    "defense",
    "trained_on",
    "judged",
    "column",
    "attack",
    "threat",
    "seen",
    "access",
    "accuracy",
    "low",
    "high",
    "rank",
    "outcome",
    "reason",
    "draws",
    "seed",
    "forwards_per_example",
    "backwards_per_example",
    "seconds",
    "defense_digest",
    "attack_digest",
    "key",
    "checks",
    "source",
)
# Seconds differ from run to run: with them a table that was resumed, or made on many machines, would be another file.
IN_FILES = tuple(name for name in COLUMNS if name != "seconds")


NUMBERS = frozenset(
    {
        "n",
        "accuracy",
        "low",
        "high",
        "rank",
        "draws",
        "seed",
        "forwards_per_example",
        "backwards_per_example",
        "seconds",
    }
)


def rows(results: Sequence[Result]) -> list[dict[str, str]]:
    """Return one line per defense, judge and column: standard, attacks, worst cases, known draws, archives, shifts.

    Numbers are text of fixed format: accuracies in percent with two decimals. The order of the lines
    depends on the results themselves, not on the order in which they are given.
    """
    results = in_order(results)
    places = {row_id(item.row): item.rank for item in ranking(results)}
    lines: list[dict[str, str]] = []
    for row in defense_rows(results):
        for judge in row.judges:
            lines.append(_line(row, judge, "standard", row.standard(judge)))
            lines += [_attack_line(row, judge, column) for column in row.attacked]
            lines += [_worst_line(row, judge, which, places) for which in WORST_CASES]
            lines += [_attack_line(row, judge, column) | {"column": "known-draws"} for column in row.known_draws]
            lines += _archive_lines(row, judge)
            lines += _shift_lines(row, judge)
    return lines


def _line(row: DefenseRow, judge: Judge, column: str, score: Score, **more: str) -> dict[str, str]:
    line = dict.fromkeys(COLUMNS, "")
    line |= {
        "dataset": row.slice.dataset,
        "split": row.slice.split,
        "n": str(row.slice.n),
        "defense": row.defense.label,
        "trained_on": "; ".join(map(str, row.defense.trained_on)),
        "judged": judge.name,
        "column": column,
        "outcome": score.state,
        "reason": " ".join(score.reason.split()),
        "draws": str(row.draws),
        "seed": str(row.seed),
        "defense_digest": row.defense.digest,
        "checks": _checks(row),
    }
    # Written over the accuracy: a blocked defense must not get a number into any file.
    if row.blocks:
        line |= {"outcome": "blocked", "reason": "; ".join(row.blocks)}
    elif score.accuracy is not None:
        line |= csv_file.percentages(score.accuracy)
    return line | more


def _attack_line(row: DefenseRow, judge: Judge, column: Column) -> dict[str, str]:
    more = {"attack": column.attack, "threat": str(column.threat), "seen": _yes(row.seen(column))}
    more["checks"] = _checks(row, column.attack)
    result = row.results.get(column)
    if result is not None:
        attack = result.cell.attack
        more |= {"access": attack.access, "attack_digest": attack.digest, "key": result.cell.key}
        if isinstance(result.outcome, Done):
            more |= _cost(result.outcome.cost, result.seconds, row.slice.n)
    return _line(row, judge, "attack", row.score(column, judge), **more)


def _archive_lines(row: DefenseRow, judge: Judge) -> list[dict[str, str]]:
    """Return a line per archive of others, then for each of their threat models the best known accuracy."""
    lines = [
        _attack_line(row, judge, column) | {"column": "import", "source": known.source(row, column)}
        for column in row.imported
    ]
    for threat in known.threats(row):
        sources = dict.fromkeys(known.source(row, column) for column in row.imported if column.threat == threat)
        more = {"threat": str(threat), "seen": _yes(row.defense.has_seen(threat)), "source": "; ".join(sources)}
        lines.append(_line(row, judge, "best-known", known.best_known(row, judge, threat), **more))
    return lines


def _checks(row: DefenseRow, attack: str | None = None) -> str:
    """Return the ids of the findings that flag or block a defense; for an attack, without those about others only."""
    return " ".join(sorted({finding.id for finding in row.alarms if attack is None or finding.concerns(attack)}))


def _shift_lines(row: DefenseRow, judge: Judge) -> list[dict[str, str]]:
    """Return a line per corruption and severity, then their mean; none of them has an adversary."""
    shifts = [column for column in row.columns if column.threat.is_shift]
    lines = [
        _line(row, judge, "corruption", row.corrupted([column], judge), attack=column.attack, threat=str(column.threat))
        for column in shifts
    ]
    return [*lines, _line(row, judge, "corruption-mean", row.corrupted(shifts, judge))] if shifts else []


def _worst_line(row: DefenseRow, judge: Judge, which: Which, ranks: Mapping[RowId, int | None]) -> dict[str, str]:
    score = row.worst(which, judge)
    more = {"seen": "" if which == "all" else _yes(which == "seen")}
    if score.accuracy is not None:
        more |= _cost(row.cost(which), row.seconds(which), row.slice.n)
    # Ranks compare the headline worst case, so only this line has one.
    if which == "all" and judge == row.judges[0]:
        more["rank"] = str(ranks.get(row_id(row)) or "")
    return _line(row, judge, f"worst-{which}", score, **more)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _cost(cost: Cost, seconds: float | None, n: int) -> dict[str, str]:
    return {
        "forwards_per_example": f"{cost.forwards / n:.1f}",
        "backwards_per_example": f"{cost.backwards / n:.1f}",
        "seconds": "" if seconds is None else f"{seconds:.2f}",
    }


def records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return `rows` with numbers as numbers, or `None` if missing; accuracies are in percent."""
    return [
        {name: _number(value) if name in NUMBERS else value for name, value in line.items()} for line in rows(results)
    ]


def _number(text: str) -> float | int | None:
    if not text:
        return None
    # Only accuracies, passes and seconds are written with a point; counts and ranks stay whole.
    return float(text) if "." in text else int(text)


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """Return `rows` as a data frame whose numbers are numbers."""
    import pandas as pd

    # With columns named, so that an empty table has them, too.
    table: pd.DataFrame = pd.DataFrame(rows(results), columns=list(COLUMNS))
    for name in NUMBERS:
        table[name] = pd.to_numeric(table[name])
    return table


def per_example(results: Iterable[tuple[Result, Sequence[str]]]) -> pd.DataFrame:
    """Return a row per image and finished cell, from cells and the ids of their images."""
    import pandas as pd

    parts = []
    for result, ids in results:
        cell, outcome = result.cell, result.outcome
        if isinstance(outcome, Done):
            columns = {
                "dataset": cell.slice.dataset,
                "id": list(ids),
                "defense": cell.defense.label,
                "attack": cell.attack.label,
                "threat": str(cell.threat),
                "seed": cell.seed,
                "draws": outcome.verdicts.draws,
                "clean": outcome.verdicts.clean,
                "adversarial": outcome.verdicts.adversarial,
                "distance": _distances(outcome, cell.slice.n),
            }
            parts.append(pd.DataFrame(columns))
    found: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return found


def _distances(outcome: Done, n: int) -> list[float]:
    """Return the distance at which each example is broken, `[n]`: infinity if it is not, NaN if not measured."""
    # Only minimum-norm attacks report distances.
    if not outcome.evidence.distances:
        return [float("nan")] * n
    return [float("inf") if far is None else far for far in outcome.evidence.distances]


def encoded(lines: Iterable[Mapping[str, str]]) -> bytes:
    """Return the CSV file of some `rows`: without seconds, so that the same verdicts give the same bytes."""
    kept = [{name: line[name] for name in IN_FILES} for line in lines]
    return csv_file.encoded(kept, IN_FILES, NUMBERS)


def write_csv(results: Sequence[Result], path: Path | str) -> Path:
    """Write `rows` atomically; the same verdicts give the same bytes, wherever and in how many runs they were made."""
    path = Path(path)
    csv_file.save(encoded(rows(results)), path)
    return path
