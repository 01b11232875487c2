"""How large the page of a large study is, and how long it takes to make: nothing is attacked, the verdicts are drawn.

python performance/page.py                            # 24 defenses x 40 attacks, as the page promises
python performance/page.py --defenses 4 --attacks 10 --out page.html
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.api.report import page_data
from bench.api.results import Results
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.examples import Examples
from bench.report.page.page import render
from bench.results.cell import Cell, Result
from bench.results.cell import Slice as Part
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Kept, Outcome, Skipped, Verdicts
from bench.results.store import Store
from bench.threats import ThreatModel
from bench.types import ImageSpec

_THREATS = tuple(map(ThreatModel.parse, ("Linf:8/255", "L2:0.5", "stadv:0.8", "recolor:0.06")))
_BEFORE = tuple(
    Finding(f"S{at:02d}", "pass", "0/64", "0.005", f"S{at:02d}: logits do not depend on the batch, to rounding")
    for at in range(1, 18)
)
_AFTER = tuple(
    Finding(f"A{at:02d}", "info", "-", "-", f"A{at:02d}: not run: it does not apply here, or its probes were left out")
    for at in range(1, 15)
)


def simulated(root: Path, defenses: int, attacks: int, n: int = 256, side: int = 32) -> Results:
    """Return results of a made-up study: every second defense is stochastic, every ninth cell skipped.

    Args:
        root: a folder for the kept images of its cells.
        defenses: how many.
        attacks: how many; each has one of four threat models.
        n: images of the slice.
        side: of an image in color.
    """
    draw = np.random.default_rng(0)
    x = draw.random((n, 3, side, side), dtype=np.float32)
    y = draw.integers(0, 10, n)
    data = Examples("cifar10", "test", [f"test/{at}" for at in range(n)], x, y, ImageSpec((3, side, side), 10))
    part = Part(data.dataset, data.split, n, data.digest, data.fingerprints)
    store = Store(root)
    digests = [_digest(draw) for _ in range(attacks)]
    cells = []
    for one in range(defenses):
        draws = 10 if one % 2 else 1
        seen = _THREATS[:1] if one % 3 else ()
        ref = DefenseRef(f"defense-{one:02d}[rt=2]", "ours:build", _digest(draw), draws > 1, seen)
        for two in range(attacks):
            attack = AttackRef(f"attack-{two:02d}[steps=50]", "ours:attack", digests[two])
            cell = Cell(ref, attack, _THREATS[two % len(_THREATS)], part, 0, draws, 128, "1")
            outcome: Outcome = Skipped(f"attack-{two:02d} is not for this kind of defense: use another one")
            if (one + two) % 9:
                clean = draw.binomial(draws, 0.9, n).astype(np.uint8)
                kept = np.minimum(clean, draw.binomial(draws, draw.random(), n).astype(np.uint8))
                outcome = Done(Verdicts(draws, clean, kept), Cost(n * 7816, n * 1910))
                if two < len(_THREATS):
                    near = np.clip(x[:8] + draw.normal(0, 0.03, x[:8].shape).astype(np.float32), 0, 1)
                    store.keep_images(cell, Kept(near, y[:8], (y[:8] + 1) % 10))
            cells.append(Result(cell, outcome, (*_BEFORE, *_AFTER), {"harness": "6b0c5ab00945"}))
    return Results(tuple(cells), store, data)


def _digest(draw: np.random.Generator) -> str:
    return draw.bytes(32).hex()


def main() -> None:
    """Make the page once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--defenses", type=int, default=24)
    parser.add_argument("--attacks", type=int, default=40)
    parser.add_argument("--out", type=Path, help="keep the page in this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = simulated(Path(folder), given.defenses, given.attacks)
        start, used = time.perf_counter(), time.process_time()
        page = render(page_data(results))
        wall, cpu = time.perf_counter() - start, time.process_time() - used
    if given.out is not None:
        given.out.write_bytes(page)
    print(f"{given.defenses} x {given.attacks}: {len(page) / 1e6:.2f} MB, {wall:.1f} s ({cpu:.1f} s of CPU)")


if __name__ == "__main__":
    main()
