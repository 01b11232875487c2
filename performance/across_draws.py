"""What `across-draws` leaves and costs beside `pgd-eot-200`, on the stochastic defenses of the digits.

    python performance/across_draws.py [--n 128] [DEFENSE ...]

Both attacks get the same images; their proposals are judged in the same 100 draws, which neither has seen. So the
difference of two accuracies has no bias, and its standard error is that of the paired difference over the images.
"""

from __future__ import annotations

import argparse
from math import comb
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.catalogue import resolve
from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.request import parse_list
from bench.datasets.load import load
from bench.harness.evaluate import judge
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators
from bench.threats import ThreatModel

DEFENSES = ("atop[rt=1]", "atop[rt=2]", "atop[rt=3]", "ap[rt=1]", "diffpure")
ATTACKS = ("across-draws", "pgd-eot-200")
THREAT, DRAWS, RESUBMITTED = ThreatModel.parse("Linf:0.2"), 100, 10
# As many rows share a forward as in a run of `bench`.
_ROWS = 160


class Left(NamedTuple):
    """What an attack left: right draws of each image, int64 `[n]`, and passes per image."""

    correct: Tensor
    passes: float


def attacked(name: str, defense: Any, examples: Any) -> Left:  # noqa: ANN401  (as loaded)
    """Attack every image that any draw gets right, and judge all in draws that no attack saw."""
    x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
    ((_, ref),) = (resolve.attack(each) for each in parse_list(name, "attack"))
    scope = ("performance", examples.digest)
    with preserved_generators():
        rows = judge(defense.model, x, y, DRAWS, (*scope, "clean")).correct.nonzero().squeeze(1)
        ids = [examples.ids[row] for row in rows.tolist()]
        oracle = Oracle(defense, len(rows), scope=(*scope, name), labels=y[rows], rows_at_once=_ROWS)
        proposed = load_attack(ref)(oracle, x[rows], y[rows], THREAT, stream=Stream.of(ids, *scope, name))
        x_adv = x.index_copy(0, rows, proposed)
        correct = judge(defense.model, x_adv, y, DRAWS, (*scope, "judge")).correct
    return Left(correct, float(oracle.forwards.sum() + oracle.backwards.sum()) / len(x))


def main() -> None:
    """Print one line for each defense and attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("defenses", nargs="*", default=DEFENSES)
    parser.add_argument("--n", type=int, default=128)
    asked = parser.parse_args()
    examples = load("digits", "test", n=asked.n)
    print(f"digits, n={asked.n}, {THREAT}, judged in {DRAWS} draws")
    print(f"{'defense':14s}{'attack':16s}{'mean':>7s}{f'{RESUBMITTED}-resubmission':>18s}{'passes':>9s}")
    for name in asked.defenses:
        (request,) = parse_list(name, "defense")
        defense = load_defense(resolve.defense(request, "digits", None), examples.spec)
        defense.model.eval()
        found = [attacked(attack, defense, examples) for attack in ATTACKS]
        for attack, left in zip(ATTACKS, found, strict=True):
            again = sum(comb(int(k), RESUBMITTED) / comb(DRAWS, RESUBMITTED) for k in left.correct) / len(left.correct)
            mean = left.correct.double().mean() / DRAWS
            print(f"{name:14s}{attack:16s}{100 * mean:7.1f}{100 * again:18.1f}{left.passes:9.0f}", flush=True)
        ours, other = found
        differences = (ours.correct - other.correct).double() / DRAWS
        error = differences.std() / len(differences) ** 0.5
        print(
            f"{name:14s}difference {100 * differences.mean():+.1f} +- {100 * error:.1f} points, "
            f"1/{other.passes / ours.passes:.1f} of the passes",
            flush=True,
        )


if __name__ == "__main__":
    main()
