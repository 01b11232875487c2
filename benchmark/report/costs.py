"""Tables of the cost of cells, in passes and in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.render import Table, TableCell
from bench.results.accuracy import DefenseRow, defense_rows
from bench.results.cell import Result
from bench.results.outcome import Cost, Done

_ABOUT = "forwards+backwards per example, its draws included; a backward is about two forwards."
_ABOUT_WASTED = "wasted: the share of these passes spent on examples already known to be broken."
_ABOUT_SECONDS = "Seconds are of all images together; they depend on the machine and its load, the passes do not."
_ABOUT_PARTS = "The worst case of other columns costs what they cost; no pass was made for it."
_CAPTION = ("Passes through the defense per image, forward and backward.", "cost")


def cost_table(results: Sequence[Result]) -> Table:
    """Return the table of passes and seconds of one slice: rows are defenses, columns attacks, in the given order."""
    rows = defense_rows(results)
    # Every row has the columns of its slice; shifts are left out, for no attack spends passes on them.
    columns = rows[0].attacked
    lines = [
        (
            TableCell(row.defense.label, f"({row.judges[0].name})"),
            TableCell(str(row.slice.n)),
            *(_cell(row, row.results.get(column)) for column in columns),
        )
        for row in rows
    ]
    header = (("defense",), ("n",), *((column.attack, str(column.threat)) for column in columns))
    part = rows[0].slice
    notes = (_ABOUT, _ABOUT_WASTED, _ABOUT_SECONDS, _ABOUT_PARTS)
    return Table(f"{part.dataset} {part.split}: cost", header, tuple(lines), notes, about=(1,), caption=_CAPTION)


def _cell(row: DefenseRow, result: Result | None) -> TableCell:
    outcome = result.outcome if result is not None else None
    if result is None or not isinstance(outcome, Done):
        # A dash for skipped and failed cells, whose passes nobody counted.
        return TableCell("-" if outcome is not None else "...")
    cost, n = outcome.cost, row.slice.n
    details = ", ".join(filter(None, (_took(result.seconds), _wasted(cost))))
    return TableCell(f"{cost.forwards / n:,.0f}+{cost.backwards / n:,.0f}", f"({details})" if details else "")


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _wasted(cost: Cost) -> str:
    passes = cost.forwards + cost.backwards
    return f"{100 * cost.wasted / passes:.1f} % wasted" if passes and cost.wasted else ""
