"""Checks of the archives of others: their examples are judged again (A13), and answers must be numbers (S01).

No other check applies. They compare attacks with each other, and an archive is no attack of this run: it cannot be
converged, masked or weaker than it should be. That it breaks what no attack here did is said beside its numbers
(`bench.results.accuracy.DefenseRow.beyond`). The findings are stored apart from those about attacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.catalogue import identity, versions
from bench.checks.after import replay
from bench.datasets.examples import Examples
from bench.results.cell import Cell
from bench.results.finding import Finding
from bench.results.outcome import Done
from bench.results.store import Store


def after(cells: Sequence[Cell], store: Store, examples: Examples, device: str) -> None:
    """Examine the finished cells of archives, and store the findings; what was examined before is not again.

    Args:
        cells: of archives.
        store: holds their verdicts and the images that they were judged on.
        examples: the images of the cells.
        device: where they are judged again.
    """
    for cell in cells:
        outcome, kept = store.find(cell), store.images(cell)
        key = identity.of_text("archive", cell.key, versions.of_checks())
        if not isinstance(outcome, Done) or kept is None or store.checks(cell, key) is not None:
            continue
        stored = replay.Stored(cell, examples.part(0, len(kept.x_adv)), kept.x_adv, outcome)
        again = replay.finding(replay.replay([stored], device), len(kept.x_adv), cell.defense)
        store.keep_checks(cell, [*_nonfinite(cell, outcome), again], key)


def _nonfinite(cell: Cell, outcome: Done) -> list[Finding]:
    most, n = outcome.evidence.nonfinite, cell.slice.n
    message = f"S01: {most}/{n} images of {cell.attack.label} give NaN/Inf logits; they are counted as broken"
    return [Finding("S01", "block", f"{most}/{n}", "0", message)] if most else []
