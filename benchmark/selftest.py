"""Is the harness as strong as it was? Known attacks on shipped defenses, against golden verdicts.

An attack that became weaker makes every defense look better, and no test of a single function sees
it. So the verdicts of a whole small matrix are shipped with the package, and computed again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import fingerprint, matrix
from bench.cell import Cell, Planned
from bench.datasets.load import load
from bench.errors import BenchError
from bench.executors import choose
from bench.outcome import Done
from bench.run import Watcher, run
from bench.stats import sign_flip
from bench.store import Store
from bench.types import ThreatModel

GOLDEN = Path(__file__).parent / "golden" / "digits.json"

_DEFENSES = "at,atop"
_ATTACKS = "fgsm,pgd-20,pgd-eot-20,apgd-ce,apgd-dlr,apgd-t,square,stadv,bpda,blind"
_THREATS = ("Linf:0.2", "L2:1", "stadv:0.4")
IMAGES = 32
# Every query of a stochastic defense takes 20 draws.
STOCHASTIC_IMAGES = 16
# One example may round to the other side on another machine.
_ROUNDING = 1
_LEVEL = 0.01

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """One attack on one defense, now and then.

    Attributes:
        weaker_by: examples (or their worth in draws) that were broken and now stand; 0 unless that is
            more than rounding or chance.
        golden: robust accuracy when the golden verdicts were made, in [0, 1].
        now: the same today; `None` where the cell failed.
    """

    title: str
    weaker_by: float
    golden: float
    now: float | None


def compare(
    watcher: Watcher, *, attacks: str = "", device: str = "cpu", jobs: int = 0, golden: Path = GOLDEN
) -> list[Comparison]:
    """Compute the matrix again and hold it against the golden verdicts.

    Args:
        watcher: who is told of progress.
        attacks: only these, as a list of names; all where empty.
        device: where to compute.
        jobs: worker processes, 0 for one per core.
        golden: the file of golden verdicts.

    Raises:
        BenchError: the shipped weights are not those the golden verdicts were made with, or there are
            no golden verdicts for an attack.
    """
    known = {row["cell"]: row for row in _read(golden)}
    found = []
    for cell, counts in _computed(watcher, attacks, device, jobs):
        row = known.get(cell.title)
        if row is None:
            raise BenchError(f"no golden verdicts for {cell.title}: record them with 'bench selftest --record FILE'")
        if row["weights"] != _weights_of(cell):
            raise BenchError(f"{cell.defense.label}: other weights than those of the golden verdicts; record them anew")
        then = np.array(row["counts"], dtype=np.int64)
        found.append(_compare(cell, then, counts))
    return found


def record(watcher: Watcher, path: Path, *, device: str = "cpu", jobs: int = 0) -> int:
    """Write golden verdicts; returns for how many cells.

    Raises:
        BenchError: a cell failed.
    """
    rows = []
    for cell, counts in _computed(watcher, "", device, jobs):
        if counts is None:
            raise BenchError(f"{cell.title} failed: golden verdicts need every cell")
        rows.append({"cell": cell.title, "draws": cell.draws, "weights": _weights_of(cell), "counts": counts.tolist()})
    text = ",\n  ".join(json.dumps(row) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"format": 1, "verdicts": [\n  {text}\n]}}\n', encoding="utf-8")
    return len(rows)


def _computed(watcher: Watcher, attacks: str, device: str, jobs: int) -> list[tuple[Cell, Counts | None]]:
    """Every cell of the matrix with its counts, computed in a folder that is thrown away."""
    examples = load("digits", "test", n=IMAGES)
    threats = tuple(ThreatModel.parse(text) for text in _THREATS)
    request = matrix.MatrixRequest(_DEFENSES, attacks or _ATTACKS, threats, batch=STOCHASTIC_IMAGES)
    plan = [_shortened(planned, examples) for planned in matrix.build(request, examples) if planned.skip is None]
    with TemporaryDirectory() as folder:
        executor = choose("auto", device, jobs, len(plan))
        results = run(plan, examples, Store(Path(folder)), executor, watcher)
    outcomes = [(result.cell, result.outcome) for result in results]
    return [
        (cell, outcome.verdicts.adversarial.astype(np.int64) if isinstance(outcome, Done) else None)
        for cell, outcome in outcomes
    ]


def _shortened(planned: Planned, examples: Any) -> Planned:  # noqa: ANN401
    """A stochastic defense is asked about fewer images."""
    if not planned.cell.defense.stochastic:
        return planned
    part = examples.part(0, STOCHASTIC_IMAGES)
    piece = replace(planned.cell.slice, n=len(part), digest=part.digest, examples=part.fingerprints)
    return replace(planned, cell=replace(planned.cell, slice=piece))


def _weights_of(cell: Cell) -> str:
    return fingerprint.of_text(
        *(fingerprint.of_file(Path(path)) for _, path in sorted(cell.defense.checkpoints.items()))
    )


def _compare(cell: Cell, then: Counts, now: Counts | None) -> Comparison:
    golden = float(then.mean()) / cell.draws
    if now is None:
        return Comparison(cell.title, float(len(then)), golden, None)
    risen = now - then
    weaker = sign_flip(risen) < _LEVEL if cell.defense.stochastic else int(risen.sum()) > _ROUNDING
    worth = float(risen.sum()) / cell.draws
    return Comparison(cell.title, worth if weaker else 0.0, golden, float(now.mean()) / cell.draws)


def _read(path: Path) -> Sequence[dict[str, Any]]:
    try:
        rows: Sequence[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["verdicts"]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"no golden verdicts in {str(path)!r}: make them with 'bench selftest --record FILE'"
        ) from error
    return rows
