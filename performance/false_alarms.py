"""How often `core` and `audit` raise the alarm on stochastic defenses that hide nothing: a false alarm each time.

    python performance/false_alarms.py                 # 15 defenses of the digits, 64 images, 3 seeds
    python performance/false_alarms.py --seeds 1 --n 16

A false alarm costs passes and no accuracy. `core` raises the alarm where the gradient does not foretell what the
answers do; `audit` as well where its sample loses more draws than chance would take, which happens in one of a hundred
by construction. The interval is that of Clopper and Pearson (95 %), with every cell counted as one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bench
from bench.catalogue.request import parse_list
from bench.results.outcome import Done
from bench.results.stats import clopper_pearson

_NOISE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "mine.py"
# Random transforms before a purifier, with and without fine-tuning of three sorts, of three kinds and before other
# classifiers; and noise alone.
DEFENSES = (
    *("atop[rt=1]", "atop[rt=2]", "atop[rt=3]", "ap[rt=1]", "ap[rt=2]", "ap[rt=3]"),
    *("atop[purifier=autoencoder]", "atop[purifier=gan]", "atop[purifier=autoencoder,rt=2]", "atop[purifier=gan,rt=2]"),
    *("atop[ft=clean]", "atop[ft=paper,rt=2]", "atop[classifier=at]", "atop[classifier=trades]", f"{_NOISE}:declared"),
)
ATTACKS = ("core", "audit")


def alarms(defense: str, n: int, seed: int, results: Path) -> Iterator[bool]:
    """Yield for each attack whether it raised the alarm."""
    done = bench.run(defenses=defense, attacks=",".join(ATTACKS), threat="Linf:0.2", n=n, seed=seed, results=results)
    for result in done:
        if not isinstance(result.outcome, Done):
            raise SystemExit(f"{result.cell.title}: no verdicts, so nothing is known of an alarm")
        yield result.outcome.evidence.escalated > 0


def main() -> None:
    """Print a line for each defense, and the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    raised = dict.fromkeys(ATTACKS, 0)
    cells = 0
    with tempfile.TemporaryDirectory() as folder:
        for defense in DEFENSES:
            (asked,) = parse_list(defense, "defense")
            found = [list(alarms(defense, given.n, seed, Path(folder))) for seed in range(given.seeds)]
            counts = dict(zip(ATTACKS, map(sum, zip(*found, strict=True)), strict=True))
            print(f"{asked.short_label if asked.is_file else defense:<34s}", *(f"{k} {v}" for k, v in counts.items()))
            raised = {attack: raised[attack] + counts[attack] for attack in ATTACKS}
            cells += given.seeds
    for attack, count in raised.items():
        low, high = clopper_pearson(count, cells)
        print(f"{attack}: {count} of {cells} alarms, {count / cells:.1%} [{low:.1%}, {high:.1%}]")


if __name__ == "__main__":
    main()
