"""The controls of a study: the undefended bases to which a ladder is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.catalogue.request import Request
from bench.catalogue.resolve import attack
from bench.catalogue.study import CONTROL, Study
from bench.results.cell import Cell, Planned
from bench.threats import LP_FAMILIES


def controls(plan: Sequence[Planned], study: Study) -> list[Cell]:
    """Return the cells of the undefended bases to which a ladder is compared."""
    # By key: the rungs of one ladder share their controls.
    found = {}
    for planned in plan:
        cell = planned.cell
        for variant in study.beside:
            if (
                variant in cell.defense.offers
                and cell.threat.family in LP_FAMILIES
                and not (planned.blocked or planned.broken)
            ):
                beside = control(cell, variant)
                found[beside.key] = beside
    return list(found.values())


def control(cell: Cell, variant: str) -> Cell:
    """Return the control of a cell: a variant of its defense, under one attack."""
    # One draw: the base of a purifier is deterministic.
    ref = attack(Request(CONTROL, {}))[1]
    return replace(cell.against(cell.defense.as_variant(variant)), attack=ref, draws=1)
