"""The self-test: known attacks on shipped defenses must still reach their golden verdicts.

An attack that became weaker makes every defense look better, and no test of a single function notices
it. So the verdicts of a small matrix are shipped with the package, and the self-test computes them again.
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

from bench.catalogue import identity
from bench.catalogue.options import default_of
from bench.catalogue.selection import Selection
from bench.datasets.load import load
from bench.errors import BenchError
from bench.harness import matrix
from bench.harness.executors import choose
from bench.harness.run import run
from bench.harness.watcher import Watcher
from bench.machine.system import write_whole
from bench.results.cell import Cell, Planned
from bench.results.outcome import Done
from bench.results.stats import sign_flip
from bench.results.store import Store
from bench.threats import ThreatModel

GOLDEN = Path(__file__).parent / "golden" / "digits.json"

# A deterministic and a stochastic defense: their successes are confirmed in different ways.
_DEFENSES = "at,atop"
_ATTACKS = "fgsm,pgd-20,pgd-eot-20,apgd-ce,apgd-dlr,apgd-t,square,stadv,bpda,blind"
_THREATS = ("Linf:0.2", "L2:1", "stadv:0.4")
IMAGES = 32
# Every query of a stochastic defense takes 20 draws.
STOCHASTIC_IMAGES = 16
# One example may round to the other side on another machine.
_ROUNDING = 1
# The level of the sign-flip test for stochastic defenses, whose draws differ between versions of torch.
_LEVEL = 0.01

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class GoldenRow:
    """A comparison of one attack on one defense with its golden verdicts.

    Attributes:
        weaker_by: examples (or their worth in draws) that were broken and are not any more; 0 unless that
            is more than rounding or chance.
        golden: robust accuracy when the golden verdicts were made, in [0, 1].
        now: the same today; `None` where the cell failed.
    """

    title: str
    weaker_by: float
    golden: float
    now: float | None


def compare_with_golden(
    watcher: Watcher, *, attacks: str = "", device: str = "cpu", jobs: int = 0, golden: Path | None = None
) -> list[GoldenRow]:
    """Compute the matrix again and compare it with the golden verdicts.

    Args:
        watcher: is told of progress.
        attacks: a list of names, to compute only these; all where empty.
        device: where to compute.
        jobs: worker processes, 0 for one per core.
        golden: the file of golden verdicts; the shipped ones by default.

    Raises:
        BenchError: the shipped weights are not those of the golden verdicts, or an attack has no golden
            verdicts.
    """
    known = {row["cell"]: row for row in _read(golden or GOLDEN)}
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


def record_golden(watcher: Watcher, path: Path, *, device: str = "cpu", jobs: int = 0) -> int:
    """Write golden verdicts and return the number of cells.

    Raises:
        BenchError: a cell failed.
    """
    rows = []
    for cell, counts in _computed(watcher, "", device, jobs):
        if counts is None:
            raise BenchError(f"{cell.title} failed: golden verdicts need every cell")
        rows.append({"cell": cell.title, "draws": cell.draws, "weights": _weights_of(cell), "counts": counts.tolist()})
    text = ",\n  ".join(json.dumps(row) for row in rows)
    write_whole(path, f'{{"format": 1, "verdicts": [\n  {text}\n]}}\n'.encode())
    return len(rows)


def _computed(watcher: Watcher, attacks: str, device: str, jobs: int) -> list[tuple[Cell, Counts | None]]:
    """Compute every cell of the matrix in a temporary folder, and return it with its counts."""
    examples = load("digits", "test", n=IMAGES)
    threats = tuple(ThreatModel.parse(text) for text in _THREATS)
    asked = Selection.of(_DEFENSES, attacks or _ATTACKS, threats)
    # One shard per stochastic defense: its random numbers depend on the size of a shard.
    whole = matrix.build(asked, examples, batch=STOCHASTIC_IMAGES)
    plan = [_shortened(planned, examples) for planned in whole if planned.skip is None]
    with TemporaryDirectory() as folder:
        executor = choose(default_of("executor"), device, jobs, sum(len(each.cell.shards) for each in plan))
        results = run(plan, examples, Store(Path(folder)), executor, watcher)
    outcomes = [(result.cell, result.outcome) for result in results]
    return [
        (cell, outcome.verdicts.adversarial.astype(np.int64) if isinstance(outcome, Done) else None)
        for cell, outcome in outcomes
    ]


def _shortened(planned: Planned, examples: Any) -> Planned:  # noqa: ANN401
    """Return the cell of a stochastic defense with fewer images, and any other unchanged."""
    if not planned.cell.defense.stochastic:
        return planned
    part = examples.part(0, STOCHASTIC_IMAGES)
    piece = replace(planned.cell.slice, n=len(part), digest=part.digest, examples=part.fingerprints)
    return replace(planned, cell=replace(planned.cell, slice=piece))


def _weights_of(cell: Cell) -> str:
    return identity.of_text(*(identity.of_file(Path(path)) for _, path in sorted(cell.defense.checkpoints.items())))


def _compare(cell: Cell, then: Counts, now: Counts | None) -> GoldenRow:
    golden = float(then.mean()) / cell.draws
    if now is None:
        # A cell that failed breaks nothing, so it is weaker by every example.
        return GoldenRow(cell.title, float(len(then)), golden, None)
    risen = now - then
    weaker = sign_flip(risen) < _LEVEL if cell.defense.stochastic else int(risen.sum()) > _ROUNDING
    worth = float(risen.sum()) / cell.draws
    return GoldenRow(cell.title, worth if weaker else 0.0, golden, float(now.mean()) / cell.draws)


def _read(path: Path) -> Sequence[dict[str, Any]]:
    try:
        rows: Sequence[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["verdicts"]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"no golden verdicts in {str(path)!r}: make them with 'bench selftest --record FILE'"
        ) from error
    return rows
