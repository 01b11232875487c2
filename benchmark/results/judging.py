"""Judges: how the draws of a stochastic defense become an accuracy.

A stochastic defense is judged from its N evaluation draws: mean-of-N (the share of correct draws),
worst-of-N (an example counts only if every draw is right) and majority-of-N (if more than half are).
An adversary who may submit an image M times wins if one answer of M is wrong: M-resubmission, between
mean-of-N (M = 1) and worst-of-N (M = N), is estimated from the same counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.results.stats import Interval, wilson

Rule = Literal["mean", "worst", "majority", "resubmission"]
Counts = NDArray[np.uint8]

# M: how often the adversary may submit an image.
RESUBMISSIONS = 5


@dataclass(frozen=True)
class Judge:
    """A rule that turns counts of correct draws into a score per example.

    Attributes:
        name: as printed: `mean-of-10`, `worst-of-10`, `majority-of-10`, `5-resubmission`, `one-shot`,
            `deterministic`.
        rule: the rule that the name stands for.
        draws: evaluation draws per example.
    """

    name: str
    rule: Rule
    draws: int

    def scores(self, counts: Counts) -> NDArray[np.float64]:
        """Return a score in [0, 1] per example, `[n]`; it never falls when a count rises."""
        if self.rule == "mean":
            return counts.astype(np.float64) / self.draws
        if self.rule == "resubmission":
            # The share of all M-subsets of the N draws that are all right: unbiased for p^M.
            ways = [comb(k, RESUBMISSIONS) / comb(self.draws, RESUBMISSIONS) for k in range(self.draws + 1)]
            return np.array(ways)[counts]
        enough = self.draws if self.rule == "worst" else self.draws // 2 + 1
        return np.greater_equal(counts, enough).astype(np.float64)


def judges(stochastic: bool, draws: int) -> tuple[Judge, ...]:
    """Return the ways to judge a defense, the headline first."""
    if draws > 1:
        rules: tuple[Rule, ...] = ("mean", "worst", "majority")
        found = tuple(Judge(f"{rule}-of-{draws}", rule, draws) for rule in rules)
        resubmission = Judge(f"{RESUBMISSIONS}-resubmission", "resubmission", draws)
        # With M = N draws resubmission is worst-of-N, and with fewer it cannot be estimated.
        return (*found, resubmission) if draws > RESUBMISSIONS else found
    return (Judge("one-shot" if stochastic else "deterministic", "mean", 1),)


@dataclass(frozen=True)
class Accuracy:
    """An accuracy with its sample size and interval.

    Attributes:
        value: in [0, 1].
        n: the number of examples.
        interval: Wilson 95 % over the examples; draws of one example add nothing to n.
        judged: name of the judge.
        complete: false when cells are failed or missing, or parts of an attack found no gradient: a worst case over
            fewer attacks is only an upper bound.
    """

    value: float
    n: int
    interval: Interval
    judged: str
    complete: bool = True


def accuracy_of(counts: Counts, judge: Judge, *, complete: bool = True) -> Accuracy:
    """Return the accuracy of counts of correct draws, uint8 `[n]`."""
    total, n = float(judge.scores(counts).sum()), len(counts)
    return Accuracy(total / n, n, wilson(total, n), judge.name, complete)
