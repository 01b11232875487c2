"""The leaderboard: every accuracy of every defense as one long table, and who is separated from whom."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.accuracy import (
    WORST_CASES,
    Accuracy,
    Column,
    DefenseRow,
    Entry,
    Judge,
    Which,
    defense_rows,
)
from bench.cell import Cell, Result, Slice
from bench.outcome import Cost, Done
from bench.stats import holm, sign_flip

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
    "defense_digest",
    "attack_digest",
    "key",
    "checks",
)
NUMBERS = frozenset(
    {"n", "accuracy", "low", "high", "rank", "draws", "seed", "forwards_per_example", "backwards_per_example"}
)

ALPHA = 0.05

RowId = tuple[Slice, str, int, int]

_RANKS_HEADER = f"{'rank':>4}  {'worst case over all':>20}  judged"
_ABOUT_RANKS = (
    "Equal ranks: not separated by exact paired tests (Holm over all pairs, alpha .05). "
    "No rank: cells failed or are missing, so the value is only an upper bound, or attacks that the others have were "
    "never asked for."
)


@dataclass(frozen=True)
class Ranked:
    """A defense with its place.

    Attributes:
        row: the defense and its results, with the columns that it is ranked over.
        accuracy: its worst case over these.
        own: its worst case over all attacks that it was asked under, the ones that others lack among them.
        rank: 1 + the number of defenses that are significantly better; shared when not separated.
            None where the worst case has failed or missing cells: an upper bound could only flatter.
    """

    row: DefenseRow
    accuracy: Accuracy
    own: Accuracy
    rank: int | None


def ranking(results: Sequence[Result]) -> list[Ranked]:
    """The defenses of each slice and seed by worst-case accuracy, best first.

    A defense outranks another only if the exact paired test, two-sided and Holm-adjusted over all
    pairs, separates them at alpha .05. Stochastic defenses enter with mean-of-N. Ranks are made over the
    attacks that all ranked defenses were asked under, so one more attack on one of them takes no rank away.
    Defenses without a rank come last; those without any finished cell, and those a check blocks, are left out.
    """
    groups: dict[tuple[Slice, int], list[DefenseRow]] = {}
    for row in defense_rows(_in_order(results)):
        groups.setdefault((row.slice, row.seed), []).append(row)
    return [ranked for rows_ in groups.values() for ranked in _ranked(rows_)]


def _ranked(rows_: Sequence[DefenseRow]) -> list[Ranked]:
    whole = [row for row in rows_ if not row.blocks]
    own = {_row_id(row): row.worst("all", row.judges[0]).accuracy for row in whole}
    open_ = _over_common(whole)
    found = [(row, accuracy) for row in open_ if (accuracy := row.worst("all", row.judges[0]).accuracy)]
    entrants = [(row, accuracy) for row, accuracy in found if accuracy.complete]
    scores = _in_common_units([row for row, _ in entrants])
    pairs = list(itertools.combinations(range(len(entrants)), 2))
    p_values = [min(1.0, 2 * min(sign_flip(scores[i] - scores[j]), sign_flip(scores[j] - scores[i]))) for i, j in pairs]
    ranks = [1] * len(entrants)
    for (i, j), p in zip(pairs, holm(p_values), strict=True):
        if p <= ALPHA:
            ranks[j if scores[i].sum() > scores[j].sum() else i] += 1
    unranked = [(row, accuracy) for row, accuracy in found if not accuracy.complete]
    places: list[int | None] = [*ranks, *([None] * len(unranked))]
    ranked = [
        Ranked(row, accuracy, own[_row_id(row)] or accuracy, rank)
        for (row, accuracy), rank in zip([*entrants, *unranked], places, strict=True)
    ]
    return sorted(ranked, key=lambda item: (item.rank is None, -item.accuracy.value))


def _over_common(rows_: Sequence[DefenseRow]) -> list[DefenseRow]:
    """The rows with the columns that they can be compared over.

    Those of as many defenses times attacks as possible: one attack more on a single defense is left out, and a
    single defense that was asked under few of them is not what the others are reduced to. What was asked for
    and has failed, or is not finished, stays: an attack that breaks down ranks nobody higher.
    """
    asked = [frozenset(column for column in row.columns if column in row.results) for row in rows_]
    shared = {one & other for one in asked for other in asked} | {frozenset.intersection(*asked)} if asked else set()

    def compared(columns: frozenset[Column]) -> tuple[int, int]:
        return sum(columns <= own for own in asked) * len(columns), len(columns)

    best = max(shared, key=compared, default=frozenset())
    return [
        replace(row, columns=tuple(column for column in row.columns if column in best or not best <= own))
        for row, own in zip(rows_, asked, strict=True)
    ]


def _in_common_units(rows_: Sequence[DefenseRow]) -> list[NDArray[np.int64]]:
    """The worst-case counts of defenses with different numbers of draws, exactly, on one scale."""
    unit = math.lcm(*(row.draws for row in rows_))
    counts = [(row.worst_counts("all"), unit // row.draws) for row in rows_]
    return [count.astype(np.int64) * factor for count, factor in counts if count is not None]


def render_ranking(results: Sequence[Result]) -> str:
    """The ranks as text for the screen, one block per slice and seed."""
    blocks: dict[tuple[Slice, int], list[str]] = {}
    for item in ranking(results):
        row, accuracy = item.row, item.accuracy
        low, high = accuracy.interval
        bound = "" if accuracy.complete else "<= "
        value = f"{bound}{100 * accuracy.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        lower = f", {100 * item.own.value:.1f} under what others lack" if item.own.value < accuracy.value else ""
        line = f"{item.rank or '-':>4}  {value:>20}  {accuracy.judged:<14}  {row.defense.label}{lower}"
        blocks.setdefault((row.slice, row.seed), [_RANKS_HEADER]).append(line)
    for row in defense_rows(_in_order(results)):
        if row.blocks:
            line = f"{'-':>4}  {'BLOCK':>20}  {row.judges[0].name:<14}  {row.defense.label}: {'; '.join(row.blocks)}"
            blocks.setdefault((row.slice, row.seed), [_RANKS_HEADER]).append(line)
    lines = []
    for (part, seed), block in blocks.items():
        lines += [f"{part.dataset} {part.split}, n={part.n}, seed {seed}", *block, *_left_out(results, part, seed), ""]
    return "\n".join([*lines, _ABOUT_RANKS])


def _left_out(results: Sequence[Result], part: Slice, seed: int) -> list[str]:
    """The attacks that ranks were not made over, because not every ranked defense was asked under them."""
    ranked = [item.row for item in ranking(results) if item.rank and (item.row.slice, item.row.seed) == (part, seed)]
    if not ranked:
        return []
    every = next(row.columns for row in defense_rows(_in_order(results)) if (row.slice, row.seed) == (part, seed))
    missing = [f"{column.attack} ({column.threat})" for column in every if column not in ranked[0].columns]
    return [f"not all of these were asked under {', '.join(missing)}: ranked without"] if missing else []


def rows(results: Sequence[Result]) -> list[dict[str, str]]:
    """One line per defense, judge and column (standard, attacks, worst seen, unseen and all, corruptions).

    Numbers are text of fixed format: accuracies in percent with two decimals. The order of the lines
    depends on what the results are, not on the order they come in.
    """
    results = _in_order(results)
    places = {_row_id(item.row): item.rank for item in ranking(results)}
    lines: list[dict[str, str]] = []
    for row in defense_rows(results):
        for judge in row.judges:
            lines.append(_line(row, judge, "standard", row.standard(judge)))
            lines += [_attack_line(row, judge, column) for column in row.attacked]
            lines += [_worst_line(row, judge, which, places) for which in WORST_CASES]
            lines += _shift_lines(row, judge)
    return lines


def _row_id(row: DefenseRow) -> RowId:
    return row.slice, row.defense.label, row.seed, row.draws


def _in_order(results: Iterable[Result]) -> list[Result]:
    def place(cell: Cell) -> tuple[Any, ...]:
        where = (cell.slice.dataset, cell.slice.split, cell.slice.n, cell.slice.digest)
        what = (cell.attack.label, cell.threat.family, cell.threat.eps)
        return (*where, cell.defense.label, cell.seed, cell.draws, *what)

    return sorted(results, key=lambda result: place(result.cell))


def _line(row: DefenseRow, judge: Judge, column: str, entry: Entry, **more: str) -> dict[str, str]:
    line = dict.fromkeys(COLUMNS, "")
    line |= {
        "dataset": row.slice.dataset,
        "split": row.slice.split,
        "n": str(row.slice.n),
        "defense": row.defense.label,
        "trained_on": "; ".join(map(str, row.defense.trained_on)),
        "judged": judge.name,
        "column": column,
        "outcome": entry.state,
        "reason": " ".join(entry.reason.split()),
        "draws": str(row.draws),
        "seed": str(row.seed),
        "defense_digest": row.defense.digest,
        "checks": _checks(row),
    }
    if row.blocks:
        line |= {"outcome": "blocked", "reason": "; ".join(row.blocks)}
    elif entry.accuracy is not None:
        shown = (entry.accuracy.value, *entry.accuracy.interval)
        line |= {name: f"{100 * value:.2f}" for name, value in zip(("accuracy", "low", "high"), shown, strict=True)}
    return line | more


def _attack_line(row: DefenseRow, judge: Judge, column: Column) -> dict[str, str]:
    more = {"attack": column.attack, "threat": str(column.threat), "seen": _yes(row.seen(column))}
    more["checks"] = _checks(row, column.attack)
    result = row.results.get(column)
    if result is not None:
        attack = result.cell.attack
        more |= {"access": attack.access, "attack_digest": attack.digest, "key": result.cell.key}
        if isinstance(result.outcome, Done):
            more |= _cost(result.outcome.cost, row.slice.n)
    return _line(row, judge, "attack", row.entry(column, judge), **more)


def _checks(row: DefenseRow, attack: str | None = None) -> str:
    """The ids of what the checks flag or block of a defense; beside an attack nothing that is about others alone."""
    return " ".join(sorted({finding.id for finding in row.alarms if attack is None or finding.concerns(attack)}))


def _shift_lines(row: DefenseRow, judge: Judge) -> list[dict[str, str]]:
    """Every corruption at every severity, then the mean of them all; no adversary in any of them."""
    shifts = [column for column in row.columns if column.threat.is_shift]
    lines = [
        _line(row, judge, "corruption", row.corrupted([column], judge), attack=column.attack, threat=str(column.threat))
        for column in shifts
    ]
    return [*lines, _line(row, judge, "corruption-mean", row.corrupted(shifts, judge))] if shifts else []


def _worst_line(row: DefenseRow, judge: Judge, which: Which, ranks: Mapping[RowId, int | None]) -> dict[str, str]:
    entry = row.worst(which, judge)
    more = {"seen": "" if which == "all" else _yes(which == "seen")}
    if entry.accuracy is not None:
        more |= _cost(row.cost(which), row.slice.n)
    if which == "all" and judge == row.judges[0]:
        more["rank"] = str(ranks.get(_row_id(row)) or "")
    return _line(row, judge, f"worst-{which}", entry, **more)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _cost(cost: Cost, n: int) -> dict[str, str]:
    return {"forwards_per_example": f"{cost.forwards / n:.1f}", "backwards_per_example": f"{cost.backwards / n:.1f}"}


def records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """`rows` with numbers as numbers, and `None` where there is none; accuracies in percent."""
    return [
        {name: _number(value) if name in NUMBERS else value for name, value in line.items()} for line in rows(results)
    ]


def _number(text: str) -> float | int | None:
    if not text:
        return None
    return float(text) if "." in text else int(text)


def ranks(results: Sequence[Result]) -> list[dict[str, Any]]:
    """`ranking` as plain data, the best first; a defense that a check blocks is last, without an accuracy."""
    found = [
        {
            **_place(item.row),
            "rank": item.rank,
            "judged": item.accuracy.judged,
            "accuracy": 100 * item.accuracy.value,
            "low": 100 * item.accuracy.interval[0],
            "high": 100 * item.accuracy.interval[1],
            "complete": item.accuracy.complete,
            "under_all_of_its_own": 100 * item.own.value,
            "over": [f"{column.attack} ({column.threat})" for column in item.row.attacked],
        }
        for item in ranking(results)
    ]
    blocked = [row for row in defense_rows(_in_order(results)) if row.blocks]
    return [*found, *({**_place(row), "rank": None, "accuracy": None, "blocked": list(row.blocks)} for row in blocked)]


def _place(row: DefenseRow) -> dict[str, Any]:
    part = row.slice
    return {"defense": row.defense.label, "dataset": part.dataset, "split": part.split, "n": part.n, "seed": row.seed}


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """`rows` as a data frame whose numbers are numbers."""
    import pandas as pd

    table: pd.DataFrame = pd.DataFrame(rows(results), columns=list(COLUMNS))
    for name in NUMBERS:
        table[name] = pd.to_numeric(table[name])
    return table


def write_csv(results: Sequence[Result], path: Path | str) -> Path:
    """Write `rows`; the file appears whole or not at all, and the same results give the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in rows(results):
        writer.writerow({name: value if name in NUMBERS else _harmless(value) for name, value in line.items()})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, for a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: labels and errors come from other people's code."""
    guard = "'" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else ""
    # Not every reader of CSV agrees on what a line break within a cell is.
    return guard + text.replace("\r", " ").replace("\n", " ")
