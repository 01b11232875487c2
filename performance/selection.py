"""How far the mean-of-N of a stochastic defense falls when the draws that are reported have also chosen the attack.

    python performance/selection.py                     # the table in docs/soundness.md
    python performance/selection.py --examples 2000     # quickly

Every example has K proposals, such as those of K attacks, and a proposal is right in each draw with a probability of
its own, which is known here. The worst case over attacks takes the least of K counts out of N draws. Each count is
unbiased, the least of them is not: it is below the accuracy under the best proposal, by luck alone. Judged in N fresh
draws, the chosen proposal is unbiased again. No defense and no attack takes part, so this takes seconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bench.results.judging import Counts, Judge

Chances = NDArray[np.float64]

DRAWS, PROPOSALS = (1, 5, 10, 20, 100), (2, 3, 8)
# Of the second part of the table: how alike the answers to two proposals are in one draw, as a correlation of normal
# scores. The judge asks about all proposals with the same seeds, so real defenses are somewhere between 0 and 1.
SHARED = 0.5


@dataclass(frozen=True)
class Selected:
    """What the choice of a proposal by N draws does to an accuracy, as shares.

    Attributes:
        reported: the mean of the least counts, which is what a worst case over attacks prints.
        best: the accuracy under the best proposal of every example, which nobody knows outside a simulation.
        chosen: the accuracy under the proposals that the draws have chosen.
        fresh: the mean of the counts of the chosen proposals in N other draws.
    """

    reported: float
    best: float
    chosen: float
    fresh: float

    @property
    def bias(self) -> float:
        """How far the printed number is from the accuracy under the best proposals; below zero it is too low."""
        return self.reported - self.best


def count(chances: Chances, draws: int, rng: np.random.Generator, shared: float = 0.0) -> NDArray[np.int64]:
    """Return how many of `draws` evaluation draws are right, `[n, K]`, for given chances per draw `[n, K]`.

    Args:
        chances: of each proposal of each example to be answered rightly in a draw.
        draws: N.
        rng: of the simulation.
        shared: 0 where the proposals of an example have independent draws, 1 where a draw has one random number for
            all of them; between, both take part.
    """
    if not shared:
        return rng.binomial(draws, chances)
    score = np.vectorize(NormalDist().inv_cdf)(np.clip(chances, 1e-9, 1 - 1e-9))
    right = np.zeros(chances.shape, dtype=np.int64)
    for _ in range(draws):
        common = rng.standard_normal((len(chances), 1))
        own = rng.standard_normal(chances.shape)
        right += score > shared**0.5 * common + (1 - shared) ** 0.5 * own
    return right


def select(chances: Chances, draws: int, rng: np.random.Generator, shared: float = 0.0) -> Selected:
    """Choose the proposal of each example with the fewest right draws, and judge it in those draws and in others."""
    counts = count(chances, draws, rng, shared)
    # The first of several: which it is says nothing of its chances.
    taken = (np.arange(len(chances)), counts.argmin(axis=1))
    again = count(chances, draws, rng, shared)
    return Selected(
        float(counts.min(axis=1).mean()) / draws,
        float(chances.min(axis=1).mean()),
        float(chances[taken].mean()),
        float(again[taken].mean()) / draws,
    )


def bound(draws: int, proposals: int) -> float:
    """Return what the bias never exceeds, sqrt(ln K / 2 N), whatever the chances and however the draws are shared.

    A share of N draws deviates from its chance as a variable does that is sub-Gaussian with variance 1 / 4 N
    (Hoeffding's lemma); the expected maximum of K such deviations is at most sqrt(2 ln K / 4 N), dependent or not.
    """
    return float(np.sqrt(np.log(proposals) / (2 * draws)))


def coins(n: int, proposals: int, _rng: np.random.Generator) -> Chances:
    """Every draw is a fair coin under every proposal."""
    return np.full((n, proposals), 0.5)


def alike(n: int, proposals: int, rng: np.random.Generator) -> Chances:
    """Most examples are nearly always right or nearly always wrong, beta(1/2, 1/2), under every proposal alike."""
    return np.repeat(rng.beta(0.5, 0.5, (n, 1)), proposals, axis=1).clip(1e-6, 1 - 1e-6)


def unlike(n: int, proposals: int, rng: np.random.Generator) -> Chances:
    """As `alike`, but the proposals of an example differ as much as those of different examples."""
    return rng.beta(0.5, 0.5, (n, proposals)).clip(1e-6, 1 - 1e-6)


WORLDS: tuple[tuple[str, Callable[[int, int, np.random.Generator], Chances], float], ...] = (
    ("coins", coins, 0.0),
    ("alike", alike, 0.0),
    ("alike, draws shared", alike, SHARED),
    ("unlike", unlike, 0.0),
)


def table(examples: int, seed: int) -> list[str]:
    """Return the rows of the table in Markdown, in points of a percent."""
    head = ["N", "K", "bound", *(name for name, _, _ in WORLDS), "judged afresh"]
    lines = [f"| {' | '.join(head)} |", "|" + "---:|" * len(head)]
    for draws in DRAWS:
        for proposals in PROPOSALS:
            rng = np.random.default_rng((seed, draws, proposals))
            found = [select(make(examples, proposals, rng), draws, rng, shared) for _, make, shared in WORLDS]
            afresh = max((each.fresh - each.chosen for each in found), key=abs)
            values = [-bound(draws, proposals), *(each.bias for each in found), afresh]
            told = (f"{100 * value:+.1f}".replace("-0.0", "+0.0").replace("+0.0", "0.0") for value in values)
            lines.append(f"| {draws} | {proposals} | {' | '.join(told)} |")
    return lines


def unbiased(examples: int, seed: int, draws: int = 10) -> list[str]:
    """Return a line for each judge that estimates something without bias: what it says, and what is true."""
    rng = np.random.default_rng((seed, draws))
    chances = alike(examples, 1, rng)
    counts: Counts = count(chances, draws, rng)[:, 0].astype(np.uint8)
    mean = Judge(f"mean-of-{draws}", "mean", draws).scores(counts).mean()
    five = Judge("5-resubmission", "resubmission", draws).scores(counts).mean()
    return [
        f"mean-of-{draws}: {100 * mean:.1f}, and {100 * chances.mean():.1f} is true",
        f"5-resubmission of {draws} draws: {100 * five:.1f}, and {100 * (chances**5).mean():.1f} is true",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    sys.stdout.write("\n".join([*unbiased(given.examples, given.seed), "", *table(given.examples, given.seed)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
