"""Cells without an adversary: how a defense does on corrupted images, beside the table and never in a worst case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from bench import fingerprint, versions
from bench.cell import AttackRef, Cell, DefenseRef, Planned, Slice
from bench.datasets.corruptions import SEVERITIES, Shift, names
from bench.datasets.examples import Examples
from bench.matrix import MatrixRequest
from bench.types import CORRUPTION, ThreatModel

_TARGET = "bench.datasets.corruptions:Shift"


@dataclass(frozen=True)
class ShiftRequest:
    """What is asked for.

    Attributes:
        folder: where the corrupted images lie.
        data: where the images themselves lie.
    """

    folder: Path
    data: Path | None = None


def build(
    request: ShiftRequest,
    defenses: Sequence[DefenseRef],
    examples: Examples,
    beside: MatrixRequest,
) -> list[Planned]:
    """A cell per defense, corruption and severity, with the seed, draws and shards of the matrix beside it.

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
                beside.seed,
                beside.draws if defense.stochastic else 1,
                beside.batch,
                protocol,
            )
        )
        for defense in defenses
        for shift in shifts
        for severity in SEVERITIES
    ]


def _ref(name: str, request: ShiftRequest, examples: Examples) -> AttackRef:
    """A corruption, known by the very images it gives."""
    config = {"folder": str(request.folder.resolve()), "name": name, "data": str(request.data or "")}
    shift = Shift(**config)
    digests = [fingerprint.of_bytes(shift.images(examples, severity).tobytes()) for severity in SEVERITIES]
    return AttackRef(name, _TARGET, fingerprint.of_text("shift", name, digests), access="none", config=config)
