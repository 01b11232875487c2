"""The report of a gate on the screen: a table of every cell, the trouble first, and the lines that sum it up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from bench.report.columns import draw_table, prose
from bench.report.gate_report import FloorRow, GateReport, GateRow
from bench.report.plain import flat

Row = TypeVar("Row", GateRow, FloorRow)

_FINE = ("ok", "improvement")
_CELLS = ("cell", "n", "baseline", "candidate", "change", "adjusted p", "verdict")
_FLOORS = ("floor", "n", "accuracy", "95 % interval", "at least", "verdict")


def screen(report: GateReport, width: int | None, *, quiet: bool = False) -> str:
    """Return a report as text.

    Args:
        report: what to tell.
        width: of the screen; `None` for no bound.
        quiet: say what is wrong and no more; the empty text if nothing is.
    """
    lines = [flat(line) for line in (report.trouble if quiet else report.lines)]
    if quiet and report.exit_code:
        lines.append(report.conclusion)
    said = [prose("\n".join(lines), width)]
    if quiet:
        return said[0]
    tables = []
    if report.floors:
        tables.append(
            draw_table(_FLOORS, [_floor(row) for row in first_trouble(report.floors)], width, right=range(1, 5))
        )
    if report.rows:
        tables.append(draw_table(_CELLS, [_cell(row) for row in first_trouble(report.rows)], width, right=range(1, 6)))
    return "\n\n".join([*tables, *said])


def first_trouble(rows: Sequence[Row]) -> list[Row]:
    """Return rows with those that fail or could not be tested first, each kind in its order."""
    return sorted(rows, key=lambda row: row.verdict in _FINE)


def _cell(row: GateRow) -> tuple[str, ...]:
    title = flat(row.title)
    if row.baseline is None or row.candidate is None:
        # Why stands in a line below the table, where it has room.
        return (title, "", "", "", "", "", _loud(row.verdict))
    # An improvement is shown with the p-value that it was found by.
    p = row.rise if row.verdict == "improvement" else row.adjusted
    accuracies = (f"{100 * row.baseline:.1f} %", f"{100 * row.candidate:.1f} %", row.change)
    return (title, str(row.n), *accuracies, f"{p:.2g}", _loud(row.verdict))


def _floor(row: FloorRow) -> tuple[str, ...]:
    title, least = flat(row.title), f"{100 * row.floor:.1f} %"
    if row.accuracy is None:
        return (title, "", "", "", least, _loud(row.verdict))
    interval = f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"
    return (title, str(row.n), f"{100 * row.accuracy:.1f} %", interval, least, _loud(row.verdict))


def _loud(verdict: str) -> str:
    return verdict if verdict in _FINE else verdict.upper()
