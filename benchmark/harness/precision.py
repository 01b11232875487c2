"""The precision of a run's queries, settled before anything is computed because it is part of every key.

`float32`, the default, queries each defense as given. `auto` searches in the fastest format of this machine, so two
machines may give a cell two keys. A results folder keeps the formats that were settled first in it, whatever machine
did so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.catalogue.guests import guest
from bench.catalogue.identity import of_text
from bench.catalogue.refs import DefenseRef
from bench.datasets.examples import Examples
from bench.harness.formats import SearchFormats
from bench.machine.isolation import Elsewhere, apart
from bench.results.cell import Cell, Planned, Slice
from bench.results.store import Store

PRECISIONS = ("float32", "auto")
# Fewer passes than this are too short for a second of timing to pay off.
_ENOUGH = 200_000
# More images than formats are timed on (`bench.harness.format_choice`).
_MOST = 128


@dataclass(frozen=True)
class Settled:
    """A plan of cells whose keys include how their queries are run.

    Attributes:
        plan: the cells.
        how: the formats of queries by the label of each defense.
        met: the formats settled anew: defense, images, formats, and the key in the store.
    """

    plan: list[Planned]
    how: dict[str, SearchFormats]
    met: tuple[tuple[DefenseRef, Slice, SearchFormats, str], ...]

    def remember(self, store: Store) -> None:
        """Store the new formats, so that the next run uses the same."""
        for defense, part, how, key in self.met:
            store.keep_search_formats(defense, part, how.to_json(), key)


def settled(
    plan: Sequence[Planned],
    examples: Examples,
    store: Store,
    *,
    precision: str,
    place: Callable[[], tuple[str, int]] = lambda: ("cpu", 1),
    measure: bool = True,
) -> Settled:
    """Set the precision of every cell.

    Args:
        plan: cells as `bench.harness.matrix.build` makes them.
        examples: their images.
        store: holds the formats settled before; nothing is written.
        precision: one of `PRECISIONS`.
        place: called before the first measurement, for the device that the run computes on and the threads of each of
            its processes; not before, because to find a GPU is to import torch.
        measure: whether a defense may be measured; if not, unknown formats are taken to be the plain ones.
    """
    cells: dict[str, list[Cell]] = {}
    for each in plan:
        if each.skip is None and not _as_given(each.cell):
            cells.setdefault(each.cell.defense.label, []).extend(each.parts or (each.cell,))
    how: dict[str, SearchFormats] = {}
    met: list[tuple[DefenseRef, Slice, SearchFormats, str]] = []
    for label, mine in cells.items():
        defense, part = mine[0].defense, mine[0].slice
        timed = precision == "auto" and sum(cell.passes() for cell in mine) >= _ENOUGH
        if not timed and not defense.stochastic:
            continue
        wanted = "auto" if timed else "float32"
        key = of_text(defense.digest, wanted)
        known = store.search_formats(defense, part, key, SearchFormats.from_json)
        if known is None and measure and not defense.broken:
            known = _settled(defense, examples, *place(), wanted)
            met.append((defense, part, known, key))
        how[label] = known or SearchFormats()

    def over(cell: Cell) -> Cell:
        return replace(cell, precision=str(how.get(cell.defense.label, SearchFormats())))

    found = [
        each if _as_given(each.cell) else replace(each, cell=over(each.cell), parts=tuple(map(over, each.parts)))
        for each in plan
    ]
    return Settled(found, how, tuple(met))


def _as_given(cell: Cell) -> bool:
    """Return whether no query of a cell may be answered in another format than that of the defense as given."""
    # Without an attack there is no search to speed up; and in another format a seed stands for other random numbers.
    return cell.threat.is_shift or cell.attack.known_draws


def _settled(defense: DefenseRef, examples: Examples, device: str, threads: int, wanted: str) -> SearchFormats:
    """Choose formats in a process of its own; a defense that ends it gets the plain ones, and fails when appraised."""
    few = examples.part(0, min(_MOST, len(examples)))
    where = "bench.harness.format_choice:settle"
    try:
        found: SearchFormats = apart(where, defense, few, device, threads, wanted, guest=guest(defense))
    except Elsewhere:
        return SearchFormats()
    return found
