"""A test of whether two printed accuracies differ by more than the sampling of their examples explains.

Without the verdicts only an unpaired test is possible: the hypergeometric tail of Fisher's exact test
(1935), doubled for two sides. With the verdicts of both on the same examples, `bench.report.gate` does better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from bench.results.printed import PrintedNumber

# The usual level and power; a published difference is one test, without a correction for others.
LEVEL = 0.05
POWER = 0.8


def unpaired_p(a: int, n_a: int, b: int, n_b: int) -> float:
    """Return the p-value of Fisher's exact test of a / n_a against b / n_b, the smaller tail doubled.

    Given a + b successes in all, the first arm's count is hypergeometric. From the observed count away from
    the mode the terms only shrink, so few of them make up the tail, whatever n is.
    """
    total, center = a + b, (a + b) * n_a / (n_a + n_b)
    step = 1 if a >= center else -1
    # In logarithms, because the binomials overflow at n = 1,000.
    first = _choose(n_a, a) + _choose(n_b, b) - _choose(n_a + n_b, total)
    term = tail = math.exp(first)
    k = a
    while term > 1e-17 * tail:
        # The ratio of neighbouring hypergeometric terms, so that no further binomial is needed.
        if step > 0:
            factor = (n_a - k) * (total - k) / ((k + 1) * (n_b - total + k + 1))
        else:
            factor = k * (n_b - total + k) / ((n_a - k + 1) * (total - k + 1))
        term *= factor
        tail += term
        k += step
    return min(1.0, 2 * tail)


def _choose(n: int, k: int) -> float:
    """Return log C(n, k)."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def examples_needed(p: float, q: float, tail: float = LEVEL / 2, power: float = POWER) -> int | None:
    """Return the examples per arm at which an unpaired test resolves p against q; None where they are equal."""
    if p == q:
        return None
    mean = (p + q) / 2
    normal = NormalDist()
    spread = normal.inv_cdf(1 - tail) * math.sqrt(2 * mean * (1 - mean))
    spread += normal.inv_cdf(power) * math.sqrt(p * (1 - p) + q * (1 - q))
    return math.ceil((spread / (p - q)) ** 2)


@dataclass(frozen=True)
class UnpairedTest:
    """A comparison of the claim's number with another one.

    Attributes:
        claimed: the claim's number.
        other: the other number.
        same_protocol: nothing but the defense differs.
    """

    claimed: PrintedNumber
    other: PrintedNumber
    same_protocol: bool

    @property
    def points(self) -> str:
        """Return the printed difference, such as `+13.28`."""
        return f"{self.claimed.printed - self.other.printed:+}"

    @property
    def p(self) -> float | None:
        """Return the two-sided p-value; None where an n is not stated."""
        n_a, n_b = self.claimed.n, self.other.n
        if n_a is None or n_b is None:
            return None
        return unpaired_p(round(self.claimed.successes(n_a)), n_a, round(self.other.successes(n_b)), n_b)

    @property
    def resolved(self) -> bool | None:
        return None if self.p is None else self.p < LEVEL

    @property
    def needed(self) -> int | None:
        """Return the examples per side at which an unpaired test would resolve the difference with 80 % chance."""
        return examples_needed(float(self.claimed.printed) / 100, float(self.other.printed) / 100)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.other.to_json(),
            "points": self.points,
            "p_unpaired": self.p,
            "resolved": self.resolved,
            "examples_needed": self.needed,
            "same_protocol": self.same_protocol,
        }
