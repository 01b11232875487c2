"""The findings of the checks as text, one row each."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import BenchError
from bench.report.columns import draw_table, prose
from bench.results.cell import Result
from bench.results.finding import Finding


def render(results: Sequence[Result], width: int | None = None) -> str:
    """Return a table per defense, and per threat model for the checks after the attacks.

    Args:
        results: with their findings.
        width: columns of the screen; `None` for any.

    Raises:
        BenchError: nothing was checked.
    """
    groups = by_subject(results)
    if not groups:
        raise BenchError("no checks in these results: run without --checks none")
    return "\n".join(_table(title, rows, width) for title, rows in groups.items())


def by_subject(results: Sequence[Result]) -> dict[str, list[Finding]]:
    """Return the findings about each defense, and about each defense under a threat model, each once."""
    groups: dict[str, list[Finding]] = {}
    for result in results:
        label = result.cell.defense.label
        for found in result.findings:
            # S checks run before any attack, so they hold for a defense under every threat.
            title = label if found.id.startswith("S") else f"{label} under {result.cell.threat}"
            rows = groups.setdefault(title, [])
            # The same finding is stored with every cell of a defense.
            rows += [found] if found not in rows else []
    return groups


def _table(title: str, rows: Sequence[Finding], width: int | None) -> str:
    body = [[row.id, row.verdict, row.value, row.threshold, row.message.partition(": ")[2]] for row in rows]
    drawn = draw_table(("id", "verdict", "value", "threshold", ""), body, width, text=(4,))
    return f"{prose(title, width)}\n{drawn}\n"
