"""The text of `bench show CELL`: the verdicts of a stored cell, and the passes of each of its attacks."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from bench.errors import BenchError
from bench.report.columns import draw_table, prose, screen_width
from bench.results.cell import Cell
from bench.results.documents import read, to_done
from bench.results.outcome import Component, Cost, Done

_HEAD = ("component", "examples", "broken", "forwards", "backwards", "wasted")


def spent(path: Path) -> str:
    """Return the ledger of a finished cell as text: the passes of each attack, and on which examples.

    Raises:
        BenchError: there is no such file, or it is no finished cell.
    """
    document = read(path)
    if document is None:
        raise BenchError(f"no file {str(path)!r}: give the path of a cell in a results folder")
    if "verdicts" not in document:
        raise BenchError(f"{str(path)!r} is no finished cell: give one such as digits/Linf-0.2/at/pgd-20.KEY.json")
    cell = Cell.from_json(document["cell"])
    return _described(cell, to_done(document, path, document["key"]), document.get("provenance", {}))


def _described(cell: Cell, done: Done, provenance: dict[str, object]) -> str:
    counts = done.verdicts
    standing = f"{int((counts.adversarial > 0).sum())} of {len(counts)}"
    draws = f", in at least one of {counts.draws} draws" if counts.draws > 1 else ""
    # Cells of the first version have no ledger: all passes are the attack's own.
    parts = done.ledger.components or {cell.attack.label: Component(done.cost)}
    rows = [_row(label, part) for label, part in parts.items()]
    total = Component(sum((part.cost for part in parts.values()), Cost()))
    rows += [("total", "", "", *_passes(total.cost))] if len(rows) > 1 else []
    width = screen_width()
    lines = [
        f"{cell.title}: {standing} right under attack{draws}",
        "",
        draw_table(_HEAD, rows, width, right=range(1, len(_HEAD))),
        "",
        *_spread(done),
        "wasted: passes on examples already known to be broken; gradients of weights are never computed",
        *_reserve(cell, done),
        *(f"{name}: {provenance[name]}" for name in ("seconds", "torch", "format") if name in provenance),
    ]
    return "\n".join(line if "\n" in line else prose(line, width) for line in lines)


def _row(label: str, part: Component) -> tuple[str, ...]:
    entered, broken = (f"{part.entered:,}", f"{part.broken:,}") if part.entered else ("", "")
    return (label, entered, broken, *_passes(part.cost))


def _passes(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.forwards:,}", f"{cost.backwards:,}", f"{cost.wasted:,}"


def _spread(done: Done) -> list[str]:
    found = []
    for kind in ("forwards", "backwards"):
        # An example that is misclassified without attack is never attacked, and would make every minimum 0.
        passes = [count for count in getattr(done.ledger, kind) if count]
        if passes:
            found.append(
                f"{kind} per attacked example: {min(passes):,} to {max(passes):,}, median {median(passes):,.0f}"
            )
    return found


def _reserve(cell: Cell, done: Done) -> list[str]:
    """Return lines on the reserve of a cascade: the sample it was tried on, and an alarm."""
    sampled, escalated = done.evidence.sampled, done.evidence.escalated
    names = ", ".join(member.label for member in cell.attack.reserve)
    lines = []
    if sampled:
        # The exact one-sided bound: with a larger share some of the sample would have broken in 95 % of all samples.
        bound = 100 * (1 - 0.05 ** (1 / sampled))
        tried = f"audit: {names} tried on {sampled} survivors"
        lines.append(
            f"{tried}, one of them broke" if escalated else f"{tried}, none broke: at most {bound:.1f} % would (95 %)"
        )
    if escalated:
        lines.append(f"alarm: {names} attacked {escalated} more survivors")
    return lines
