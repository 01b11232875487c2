"""How the queries of a run are answered, settled before anything is computed: it is part of every key.

`float32`, the default, asks each defense as it is given. `auto` searches in the format that is fastest here, so two
machines may give a cell two keys. A results folder keeps to what was settled first in it, on whatever machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.cell import Cell, DefenseRef, Planned, Slice
from bench.datasets.examples import Examples
from bench.executors.task import passes
from bench.fingerprint import of_text
from bench.formats import Plan
from bench.store import Store

PRECISIONS = ("float32", "auto")
# Fewer passes than this are over before a second of timing pays.
_ENOUGH = 200_000


@dataclass(frozen=True)
class Settled:
    """A plan of cells whose keys say how their queries are answered.

    Attributes:
        plan: the cells.
        how: by the label of each defense.
        met: what was settled anew: a defense, its images, how, and what that is remembered by.
    """

    plan: list[Planned]
    how: dict[str, Plan]
    met: tuple[tuple[DefenseRef, Slice, Plan, str], ...]

    def remember(self, store: Store) -> None:
        """Keep what is new, for the next run to keep to."""
        for defense, part, how, key in self.met:
            store.keep_plan(defense, part, how, key)


def settled(
    plan: Sequence[Planned],
    examples: Examples,
    store: Store,
    *,
    precision: str,
    device: str = "cpu",
    threads: int = 1,
    measure: bool = True,
) -> Settled:
    """Say in every cell how its queries are answered.

    Args:
        plan: cells as `bench.matrix.build` makes them.
        examples: their images.
        store: knows what was settled before; nothing is written.
        precision: one of `PRECISIONS`.
        device: where the run computes.
        threads: of each of its processes.
        measure: whether a defense may be asked; else what is not known yet is taken for plain.
    """
    cells: dict[str, list[Cell]] = {}
    for each in plan:
        # What is not attacked is asked as it is given.
        if each.skip is None and not each.cell.threat.is_shift:
            cells.setdefault(each.cell.defense.label, []).extend(each.parts or (each.cell,))
    how: dict[str, Plan] = {}
    met: list[tuple[DefenseRef, Slice, Plan, str]] = []
    for label, mine in cells.items():
        defense, part = mine[0].defense, mine[0].slice
        timed = precision == "auto" and sum(passes(cell, cell.slice.n) for cell in mine) >= _ENOUGH
        if not timed and not defense.stochastic:
            continue
        wanted = "auto" if timed else "float32"
        key = of_text(defense.digest, wanted)
        known = store.plan(defense, part, key)
        if known is None and measure:
            from bench.planner import settle

            known = settle(defense, examples, device, threads, wanted)
            met.append((defense, part, known, key))
        how[label] = known or Plan()

    def over(cell: Cell) -> Cell:
        return replace(cell, precision=str(how.get(cell.defense.label, Plan())))

    found = [
        each if each.cell.threat.is_shift else replace(each, cell=over(each.cell), parts=tuple(map(over, each.parts)))
        for each in plan
    ]
    return Settled(found, how, tuple(met))
