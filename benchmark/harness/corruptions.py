"""Cells of corrupted images: accuracy without an adversary, shown next to the table and never in a worst case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from bench.catalogue import identity, versions
from bench.catalogue.options import DEFAULT_BATCH, DEFAULT_DRAWS
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.corruptions import SEVERITIES, Shift, names
from bench.datasets.examples import Examples
from bench.results.cell import Cell, Planned, Slice
from bench.threats import CORRUPTION, ThreatModel

_TARGET = "bench.datasets.corruptions:Shift"


@dataclass(frozen=True)
class ShiftRequest:
    """A request for cells of corrupted images.

    Attributes:
        folder: the folder of the corrupted images.
        data: the folder of the images they were made from.
    """

    folder: Path
    data: Path | None = None


def build(
    request: ShiftRequest,
    defenses: Sequence[DefenseRef],
    examples: Examples,
    *,
    seed: int = 0,
    draws: int = DEFAULT_DRAWS,
    batch: int = DEFAULT_BATCH,
) -> list[Planned]:
    """Make a cell per defense, corruption and severity, with the seed, draws and batch of the matrix.

    Raises:
        BenchError: a file is missing, damaged, or not made from these images; nothing was computed.
    """
    part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
    protocol = versions.of_harness()
    shifts = [_ref(name, request, examples) for name in names(request.folder)]
    return [
        Planned(
            Cell(
                defense,
                shift,
                ThreatModel(CORRUPTION, Fraction(severity)),
                part,
                seed,
                draws if defense.stochastic else 1,
                batch,
                protocol,
            )
        )
        for defense in defenses
        for shift in shifts
        for severity in SEVERITIES
    ]


def _ref(name: str, request: ShiftRequest, examples: Examples) -> AttackRef:
    """Return the reference of a corruption, whose digest is that of its images."""
    # Files of the same name differ between downloads and layouts; only the images decide what a verdict is of.
    config = {"folder": str(request.folder.resolve()), "name": name, "data": str(request.data or "")}
    shift = Shift(**config)
    digests = [identity.of_bytes(shift.images(examples, severity).tobytes()) for severity in SEVERITIES]
    return AttackRef(name, _TARGET, identity.of_text("shift", name, digests), access="none", config=config)
