"""How many verdicts change when weights are rounded to half precision: the shipped digits, attacked both ways.

    python performance/half_weights.py                       # at, atop x fgsm, pgd-20, autoattack
    python performance/half_weights.py --n 128 --attacks fgsm

`bench train` with `half=true` writes weights in half of the bytes, and everything afterwards is about the rounded
weights. This script rounds a copy of the shipped float32 weights, runs the same attacks on both and compares them
example by example, a stochastic defense draw by draw. What it prints stands in docs/training.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bench
from bench.catalogue.weights import card, shipped
from bench.defenses import weights_file
from bench.results.outcome import Done, Verdicts

DATASET = "digits"


def round_weights(name: str, folder: Path) -> None:
    """Write a shipped checkpoint into a folder of weights, rounded to half precision, with its card."""
    source, told = shipped() / DATASET / f"{name}.safetensors", folder / DATASET / f"{name}.safetensors"
    told.parent.mkdir(parents=True, exist_ok=True)
    facts = {key: value for key, value in card(source).items() if key != "sha256"}
    weights_file.write(told, weights_file.read_state(source), facts, half=True)


def measured(attacks: str, n: int, weights: Path | None, results: Path) -> dict[tuple[str, str], Verdicts]:
    """Attack both defenses and return what each was right about, by defense and attack."""
    done = bench.run(
        defenses="at,atop",
        attacks=attacks,
        threat="Linf:0.2",
        n=n,
        weights=weights,
        checks="none",
        results=results,
    )
    found = {}
    for result in done:
        if not isinstance(result.outcome, Done):
            raise SystemExit(f"{result.cell.title}: no verdicts, so nothing to compare")
        found[result.cell.defense.label, result.cell.attack.label] = result.outcome.verdicts
    return found


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> str:
    """Return how many draws were right before and after, and by how many their counts differ, image by image."""
    differ = int(np.abs(before.astype(int) - after.astype(int)).sum())
    return f"{int(before.sum()):5d} -> {int(after.sum()):5d}, changed {differ:3d}"


def main(words: Sequence[str]) -> int:
    """Attack both versions of the weights and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=128)
    parser.add_argument("--attacks", default="fgsm,pgd-20,autoattack")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary, "weights")
        for name in ("standard", "at", "atop-rt1"):
            round_weights(name, weights)
        full = measured(given.attacks, given.n, None, Path(temporary, "full"))
        half = measured(given.attacks, given.n, weights, Path(temporary, "half"))
    print(f"{DATASET} test, n={given.n}, Linf 0.2: correct draws with float32 weights -> with rounded ones")
    for (defense, attack), one in full.items():
        other = half[defense, attack]
        print(
            f"{defense:5s} {attack:11s} of {one.draws * len(one):5d}: "
            f"clean {changed(one.clean, other.clean)}; attacked {changed(one.adversarial, other.adversarial)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
