"""Intervals and exact paired tests for verdicts. Importing this module does not import scipy.

Wilson (JASA 1927) and Clopper-Pearson (Biometrika 1934) intervals, those of Newcombe (Statist. Med. 1998) for
differences of independent shares and of Agresti and Min (Statist. Med. 2005) for paired ones, the exact McNemar test
(Psychometrika 1947), Fisher's sign-flip permutation test and Holm's correction (Scand. J. Statist. 1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """A confidence interval of a share, both ends in [0, 1], or of a difference of two, in [-1, 1]."""

    low: float
    high: float


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share of `n` examples.

    `successes` may be fractional: a mean-of-N accuracy sums shares of draws. Shares vary less than n coins
    of the same mean, so the interval is then too wide, never too narrow. It covers the sampling of examples
    only: a stronger attack may still lower the share itself.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share: need n >= 1 and 0 <= successes <= n")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, shrink = successes / n, 1 + z * z / n
    center = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n the formula gives 0 and 1 but for rounding, which could leave [0, 1].
    return Interval(
        0.0 if successes == 0 else max(0.0, center - half),
        1.0 if successes == n else min(1.0, center + half),
    )


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the exact interval, which covers every true share with at least `confidence`: for "at least" claims."""
    from scipy.special import betaincinv

    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share: need n >= 1 and 0 <= successes <= n")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return Interval(low, high)


def paired_difference(differences: Sequence[float] | NDArray[np.floating[Any]], confidence: float = 0.95) -> Interval:
    """Return the interval of a mean difference between two scores of the same examples.

    That of Agresti and Min (Statist. Med. 24, 729, 2005; "Wald+2"): the normal interval after half an example was
    added to each of the four pairs of 0/1 verdicts, so two examples that differ by +1/2, -1/2 and 0 in total. Without
    any difference it is therefore no point. Of a stochastic defense the differences are fractions, which vary less
    than verdicts; their own variance is used, as the formula is a mean and a variance of differences.

    Args:
        differences: one minus the other, each in [-1, 1], `[n]`.
        confidence: in (0, 1).

    Returns:
        Both ends, in [-1, 1]. It covers the sampling of examples only.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values) or np.abs(values).max() > 1:
        raise ValueError("differences of scores in [0, 1] are in [-1, 1], and at least one is needed")
    z, n = NormalDist().inv_cdf((1 + confidence) / 2), len(values) + 2
    mean = float(values.sum()) / n
    variance = (float(np.square(values).sum()) + 1) / n - mean * mean
    half = z * math.sqrt(variance / n)
    return Interval(max(-1.0, mean - half), min(1.0, mean + half))


def noise_of(differences: NDArray[np.floating[Any]]) -> float:
    """Return the variance per example of the changes that cancel out, for `smallest_detectable_drop`.

    Changes in both directions are noise; what is left on one side is the difference itself.
    """
    up, down = (float(np.square(differences[side]).sum()) for side in (differences > 0, differences < 0))
    return 2 * min(up, down) / len(differences)


def newcombe(a: float, n_a: int, b: float, n_b: int, confidence: float = 0.95) -> Interval:
    """Return Newcombe's hybrid score interval of the difference `a / n_a - b / n_b` of two independent samples.

    Method 10 of Newcombe, Statistics in Medicine 17 (1998), 873-890: the ends of the two Wilson intervals that lie
    in the direction of the difference, added in quadrature. It is for different images; verdicts on the same images
    are paired, and `sign_flip` sees smaller differences.

    Args:
        a: successes of the first sample; may be fractional, as for `wilson`.
        n_a: its examples.
        b: successes of the second sample.
        n_b: its examples.
        confidence: of the interval.
    """
    (low_a, high_a), (low_b, high_b) = wilson(a, n_a, confidence), wilson(b, n_b, confidence)
    p, q = a / n_a, b / n_b
    return Interval(p - q - math.hypot(p - low_a, high_b - q), p - q + math.hypot(high_a - p, q - low_b))


def _fair_coins(n: int) -> NDArray[np.float64]:
    """Return P(k heads of n coins), `[n + 1]`; one rounded division of integers, so exact to one ulp."""
    ways, total = 1, 1 << n
    shares = []
    for heads in range(n + 1):
        shares.append(ways / total)
        ways = ways * (n - heads) // (heads + 1)
    return np.array(shares)


def mcnemar(b: int, c: int) -> float:
    """Return the p-value of the exact one-sided McNemar test: P(at least `b` of `b + c` flips are bad).

    Args:
        b: pairs that went from robust to broken.
        c: pairs that went from broken to robust.
    """
    return min(1.0, float(_fair_coins(b + c)[b:].sum()))


def sign_flip(differences: Sequence[int] | NDArray[np.integer]) -> float:
    """Return the p-value of the exact one-sided paired permutation test: P(a sum this large by random signs).

    The null hypothesis is that both sides of a pair are exchangeable. For differences of 0/1 verdicts
    this is the exact McNemar test; for differences of counts it is Fisher's permutation test. No sign
    pattern is enumerated: the sum of one magnitude's signs is binomial, and magnitudes are independent.

    Args:
        differences: integers `[n]`, before minus after; a small p is evidence of a drop.
    """
    values = np.asarray(differences, dtype=np.int64)
    # Zeros have no sign to flip: pairs that did not change say nothing.
    magnitudes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    chances = np.ones(1)  # chances[s] = P(the positive differences sum to s)
    for magnitude, count in zip(magnitudes.tolist(), counts.tolist(), strict=True):
        step = np.zeros(magnitude * count + 1)
        step[::magnitude] = _fair_coins(count)
        chances = np.convolve(chances, step)
    return min(1.0, float(chances[int(values[values > 0].sum()) :].sum()))


def two_sided(differences: NDArray[np.int64]) -> float:
    """Return the two-sided p-value of `sign_flip`: nobody said beforehand which of the two sides is better."""
    # Twice the smaller one-sided p-value; the distribution of signs is symmetric.
    return min(1.0, 2 * min(sign_flip(differences), sign_flip(-differences)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the given order: `adjusted <= alpha` rejects.

    Rejecting so keeps the chance of any false alarm in the family at most alpha, however the tests
    depend on each other.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def smallest_detectable_drop(
    n: int, alpha: float, power: float = 0.8, *, noise: float = 0.0, min_effect: float = 0.0
) -> float:
    """Return the smallest true drop of accuracy, in [0, 1], that a paired test on `n` examples would catch.

    Without noise examples flip one way only: k flips have p = 2^-k, so the test needs the smallest k
    with 2^-k <= alpha (and k >= n * min_effect), and the drop d needs P(Binomial(n, d) >= k) >= power.
    Noise widens that by the normal approximation of the test: n d^2 = z^2 (noise + d).

    Args:
        n: paired examples.
        alpha: level of the test; for a family of m cells, alpha / m.
        power: the chance of catching the drop.
        noise: variance per example of the changes that cancel out: 2u when a share u of the examples
            flips each way for no reason.
        min_effect: the observed drop below which nothing is reported, in [0, 1].

    Returns:
        The drop; 1.0 when no drop could be caught.
    """
    from scipy.special import betaincinv

    # Without the 1e-9, 100 * 0.07 = 7.000000000000001 would round up to 8 flips.
    flips = max(1, math.ceil(-math.log2(alpha)), math.ceil(n * min_effect - 1e-9))
    if flips > n:
        return 1.0
    one_way = float(betaincinv(flips, n - flips + 1, power))
    # Not 1 - alpha, which is rounded to 1 for a small alpha.
    z = NormalDist().inv_cdf(power) - NormalDist().inv_cdf(alpha)
    return min(1.0, (one_way + math.sqrt(one_way**2 + 4 * z * z * noise / n)) / 2)
