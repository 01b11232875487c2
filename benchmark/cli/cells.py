"""`bench show CELL`: what a stored cell says, and who spent its passes on what."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from tabulate import tabulate

from bench.cell import Cell
from bench.documents import read, to_done
from bench.errors import BenchError
from bench.outcome import Component, Cost, Done

_HEAD = ("component", "examples", "broken", "forwards", "backwards", "wasted")


def show(path: Path) -> int:
    """Print the ledger of a finished cell.

    Raises:
        BenchError: there is no such file, or it is no finished cell.
    """
    document = read(path)
    if document is None:
        raise BenchError(f"no file {str(path)!r}: give the path of a cell in a results folder")
    if "verdicts" not in document:
        raise BenchError(f"{str(path)!r} is no finished cell: give one such as digits/Linf-0.2/at/pgd-20.KEY.json")
    cell = Cell.from_json(document["cell"])
    print(_described(cell, to_done(document, path, document["key"]), document.get("provenance", {})))
    return 0


def _described(cell: Cell, done: Done, provenance: dict[str, object]) -> str:
    counts = done.verdicts
    standing = f"{int((counts.adversarial > 0).sum())} of {len(counts)}"
    draws = f", in at least one of {counts.draws} draws" if counts.draws > 1 else ""
    parts = done.ledger.components or {cell.attack.label: Component(done.cost)}
    rows = [_row(label, part) for label, part in parts.items()]
    total = Component(sum((part.cost for part in parts.values()), Cost()))
    lines = [
        f"{cell.title}: {standing} right under attack{draws}",
        "",
        tabulate([*rows, ("total", "", "", *_passes(total.cost))] if len(rows) > 1 else rows, _HEAD, intfmt=","),
        "",
        *_spread(done),
        "wasted: passes on examples already known to be broken; gradients of weights are never computed",
        *_reserve(cell, done),
        *(f"{name}: {provenance[name]}" for name in ("seconds", "torch", "format") if name in provenance),
    ]
    return "\n".join(lines)


def _row(label: str, part: Component) -> tuple[object, ...]:
    return (label, part.entered or "", part.broken if part.entered else "", *_passes(part.cost))


def _passes(cost: Cost) -> tuple[int, int, int]:
    return cost.forwards, cost.backwards, cost.wasted


def _spread(done: Done) -> list[str]:
    found = []
    for kind in ("forwards", "backwards"):
        passes = [count for count in getattr(done.ledger, kind) if count]
        if passes:
            found.append(
                f"{kind} per attacked example: {min(passes):,} to {max(passes):,}, median {median(passes):,.0f}"
            )
    return found


def _reserve(cell: Cell, done: Done) -> list[str]:
    """What became of what a cascade holds back."""
    sampled, escalated = done.evidence.sampled, done.evidence.escalated
    names = ", ".join(member.label for member in cell.attack.reserve)
    lines = []
    if sampled:
        bound = 100 * (1 - 0.05 ** (1 / sampled))
        tried = f"audit: {names} tried on {sampled} survivors"
        lines.append(
            f"{tried}, one of them broke" if escalated else f"{tried}, none broke: at most {bound:.1f} % would (95 %)"
        )
    if escalated:
        lines.append(f"alarm: {names} attacked {escalated} more survivors")
    return lines
