"""Markdown for the summary of a step and for a comment on a pull request or merge request."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.ci.escaping import for_markdown
from bench.report.ci.screen import first_trouble
from bench.report.gate_report import FloorRow, GateReport, GateRow

# A bot finds the comment that it wrote before by this line, which no reader sees.
MARKER = "<!-- atop-bench gate -->"
# What GitHub accepts as a comment, in characters.
LIMIT = 65_536
_SIGNS = {
    "ok": "ok",
    "improvement": "⬆️ improvement",
    "regression": "❌ **regression**",
    "absent": "⚠️ **absent**",
    "not comparable": "⚠️ **not comparable**",
    "below": "❌ **below the floor**",
}
_ROWS = "| cell | n | baseline | candidate | change | adjusted p | |\n|---|--:|--:|--:|--:|--:|---|"
_FLOORS = "| floor | n | accuracy | 95 % interval | at least | |\n|---|--:|--:|--:|--:|---|"


def markdown(report: GateReport, *, limit: int = LIMIT) -> str:
    """Return a report as Markdown, cell by cell, the trouble first.

    Args:
        report: what to tell.
        limit: characters it may have; what does not fit is counted in a line at the end.
    """
    if report.mistake:
        # A name in it may be as long as anything; cut before it is escaped, no entity is halved.
        said = for_markdown(report.mistake[: limit // 16])
        return f"{MARKER}\n### ❌ bench {report.conclusion}: {said}\n"
    lines = [MARKER, f"### {'✅' if report.exit_code == 0 else '❌'} bench {report.conclusion}", ""]
    lines += [f"- {for_markdown(line)}" for line in (*report.trouble, *report.notes)]
    lines += [f"- {report.sensitivity}"] if report.sensitivity else []
    tables: list[tuple[str, list[str]]] = []
    if report.floors:
        tables.append((_FLOORS, [_floor(row) for row in first_trouble(report.floors)]))
    if report.rows:
        tables.append((_ROWS, [_row(row) for row in first_trouble(report.rows)]))
    return _within(lines, tables, limit)


def _row(row: GateRow) -> str:
    if row.baseline is None or row.candidate is None:
        cells = [for_markdown(row.title), "", "", "", for_markdown(row.reason), ""]
    else:
        p = row.rise if row.verdict == "improvement" else row.adjusted
        accuracies = (f"{100 * row.baseline:.1f} %", f"{100 * row.candidate:.1f} %", row.change)
        cells = [for_markdown(row.title), str(row.n), *accuracies, f"{p:.2g}"]
    return _line([*cells, _SIGNS[row.verdict]])


def _floor(row: FloorRow) -> str:
    if row.accuracy is None:
        cells = [for_markdown(row.title), "", "", for_markdown(row.reason)]
    else:
        interval = f"{100 * row.low:.1f} to {100 * row.high:.1f} %"
        cells = [for_markdown(row.title), str(row.n), f"{100 * row.accuracy:.1f} %", interval]
    near = ", but the interval contains it" if row.verdict == "ok" and row.contained else ""
    return _line([*cells, f"{100 * row.floor:.1f} %", _SIGNS[row.verdict] + near])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _within(head: Sequence[str], tables: Sequence[tuple[str, list[str]]], limit: int) -> str:
    """Return the lines and tables, as many of them as fit into `limit` characters, and how many did not."""
    total = len(head) + sum(len(rows) for _, rows in tables)
    room = limit - len(_left_out(total))
    out: list[str] = []
    used = shown = 0

    def add(text: str, counts: bool = True) -> bool:
        nonlocal used, shown
        if used + len(text) + 1 > room:
            return False
        out.append(text)
        used += len(text) + 1
        shown += counts
        return True

    whole = all(add(line) for line in head)
    for title, rows in tables if whole else ():
        whole = whole and add(f"\n{title}", counts=False) and all(add(row) for row in rows)
    return "".join(f"{text}\n" for text in out) + ("" if whole else _left_out(total - shown))


def _left_out(count: int) -> str:
    return f"\n_{count} more lines are left out: the log of the run has all of them._\n"
