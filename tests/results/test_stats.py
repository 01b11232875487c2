"""Intervals and tests against enumeration, scipy and the planning tables of the design."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from bench.results.stats import (
    Interval,
    clopper_pearson,
    holm,
    mcnemar,
    newcombe,
    noise_of,
    paired_difference,
    sign_flip,
    smallest_detectable_drop,
    two_sided,
    wilson,
)

SHARES = [(0, 1), (1, 1), (0, 64), (70, 128), (1, 512), (511, 512), (512, 512), (5000, 10_000)]


@pytest.mark.parametrize(("successes", "n"), SHARES)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_scipy(successes, n, confidence):
    """The interval is the one scipy computes, whatever the share and the confidence."""
    ours = wilson(successes, n, confidence)

    expected = binomtest(successes, n).proportion_ci(confidence, "wilson")
    assert ours == pytest.approx(Interval(expected.low, expected.high), abs=1e-12)
    assert 0 <= ours.low <= successes / n <= ours.high <= 1


@pytest.mark.parametrize(("successes", "n"), SHARES)
def test_clopper_pearson_agrees_with_scipy(successes, n):
    """The interval is the one scipy computes, ends included."""
    ours = clopper_pearson(successes, n)

    expected = binomtest(successes, n).proportion_ci(0.95, "exact")
    assert ours == pytest.approx(Interval(expected.low, expected.high), abs=1e-12)


def test_all_robust_out_of_512_shows_no_more_than_99_3_percent():
    """512 of 512 is no 100 %: the exact interval reaches down to 99.28 %."""
    assert clopper_pearson(512, 512).low == pytest.approx(0.9928, abs=5e-5)


@pytest.mark.parametrize(
    ("a", "n_a", "b", "n_b", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
        (10, 10, 0, 10, 0.6075, 1.0000),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(a, n_a, b, n_b, low, high):
    """The eight worked examples of Newcombe (1998), table II, method 10."""
    assert newcombe(a, n_a, b, n_b) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("a", "n_a"), SHARES)
@pytest.mark.parametrize(("b", "n_b"), [(41, 64), (373, 512), (0, 64), (10_000, 10_000)])
def test_the_interval_of_a_difference_follows_from_those_of_the_shares(a, n_a, b, n_b):
    """Against scipy's Wilson intervals; the mirror image of the other order; within [-1, 1]."""
    one, other = (binomtest(k, n).proportion_ci(0.95, "wilson") for k, n in ((a, n_a), (b, n_b)))
    p, q = a / n_a, b / n_b

    low, high = newcombe(a, n_a, b, n_b)

    assert low == pytest.approx(p - q - math.sqrt((p - one.low) ** 2 + (other.high - q) ** 2), abs=1e-12)
    assert high == pytest.approx(p - q + math.sqrt((one.high - p) ** 2 + (q - other.low) ** 2), abs=1e-12)
    assert newcombe(b, n_b, a, n_a) == pytest.approx((-high, -low), abs=1e-12)
    assert -1 - 1e-12 <= low <= p - q <= high <= 1 + 1e-12


def test_the_interval_of_a_difference_covers_it_as_often_as_it_says():
    """Over all pairs of counts, 64 against 128 examples: near 95 %, whatever the true shares are."""
    n_a, n_b = 64, 128
    ends = np.array([[newcombe(a, n_a, b, n_b) for b in range(n_b + 1)] for a in range(n_a + 1)])
    for p, q in itertools.product((0.1, 0.5, 0.64), (0.2, 0.56, 0.9)):
        covered = (ends[..., 0] <= p - q) & (p - q <= ends[..., 1])
        chance = binom.pmf(np.arange(n_a + 1), n_a, p) @ covered @ binom.pmf(np.arange(n_b + 1), n_b, q)
        assert 0.93 < chance < 0.975


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_a_share_that_is_none_is_refused(interval, successes, n):
    """More successes than examples, or no examples, never give an interval."""
    with pytest.raises(ValueError, match="is no share"):
        interval(successes, n)


@pytest.mark.parametrize(
    ("interval", "least", "mean"), [(wilson, 0.94, 0.9505), (clopper_pearson, 0.95, 0.9566)], ids=["wilson", "exact"]
)
def test_coverage_at_512_is_what_the_planning_says(interval, least, mean):
    """Over the shares from 2 % to 98 % Wilson covers 95.05 % on average and Clopper-Pearson never below 95 %."""
    n = 512
    bounds = np.array([interval(k, n) for k in range(n + 1)])
    shares = np.linspace(0.02, 0.98, 961)

    covered = (bounds[:, :1] <= shares) & (shares <= bounds[:, 1:])
    coverage = (binom.pmf(np.arange(n + 1)[:, None], n, shares) * covered).sum(0)

    assert coverage.min() > least
    assert coverage.mean() == pytest.approx(mean, abs=5e-4)


def test_wilson_of_mean_of_ten_covers_at_least_as_often_as_it_says():
    """Ten draws per example scatter less than one, so the interval over examples is conservative."""
    generator = np.random.default_rng(5)
    n, runs = 128, 2000
    robustness = generator.beta(0.6, 0.4, size=(runs, n))
    means = generator.binomial(10, robustness).sum(1) / 10

    intervals = [wilson(total, n) for total in means]

    covered = np.mean([interval.low <= 0.6 <= interval.high for interval in intervals])
    assert covered > 0.95


@pytest.mark.parametrize("seed", range(12))
def test_sign_flip_agrees_with_every_sign_pattern_counted(seed):
    """The convolution gives the share of the 2^n sign patterns whose sum is at least the observed one."""
    generator = np.random.default_rng(seed)
    differences = generator.integers(-4, 6, size=9)

    p = sign_flip(differences)

    sums = [
        sum(s * abs(d) for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((-1, 1), repeat=9)
    ]
    assert p == pytest.approx(np.mean(np.array(sums) >= differences.sum()), rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (0, 1), (7, 0), (5, 5), (20, 9), (9, 20), (300, 250)])
def test_on_verdicts_sign_flip_is_the_exact_mcnemar_test(b, c):
    """Flips one way against flips the other way: the binomial test of scipy, one-sided."""
    differences = np.array([1] * b + [-1] * c + [0] * 17)

    p = sign_flip(differences)

    expected = binomtest(b, b + c, 0.5, "greater").pvalue if b + c else 1.0
    assert p == pytest.approx(expected, rel=1e-9)
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)


def test_sign_flip_keeps_its_accuracy_in_the_far_tail():
    """Forty flips one way have p = 2^-40 exactly, however many draws each flip is worth."""
    assert sign_flip([1] * 40) == 2.0**-40
    assert sign_flip([10] * 40) == pytest.approx(2.0**-40, rel=1e-12)


def test_sign_flip_takes_unsigned_arithmetic_out_of_the_way():
    """Narrow integers may not wrap around: -1 in int8 is a rise, not a drop of 255."""
    rises = np.array([-1] * 10, dtype=np.int8)

    assert sign_flip(rises) == 1.0


def test_holm_by_hand():
    """p = .01 .04 .03 .005 of four: .005 x 4, .01 x 3, .03 x 2, and .04 held up by the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_one_changes_nothing_and_of_none_is_empty():
    """A family of one needs no correction; adjusted values never exceed one."""
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(("n", "points"), [(128, 7.1), (256, 3.6), (512, 1.8), (910, 1.0), (1000, 1.0), (5000, 0.2)])
def test_detectable_drop_without_noise_matches_the_planning_table(n, points):
    """alpha .01, 80 % power, nothing flips by itself: 1.8 points at n=512, 1 point from n=910."""
    drop = smallest_detectable_drop(n, 0.01)

    assert math.ceil(1000 * drop) / 10 == points


@pytest.mark.parametrize(
    ("n", "flips_each_way", "points"),
    [(2093, 0.005, 1), (3132, 0.01, 1), (1050, 0.01, 2), (284, 0.01, 5), (458, 0.03, 5)],
)
def test_detectable_drop_with_noise_matches_the_planning_table(n, flips_each_way, points):
    """The closed form stays within a tenth of the sample sizes that were computed exactly."""
    drop = smallest_detectable_drop(n, 0.01, noise=2 * flips_each_way)

    assert 100 * drop == pytest.approx(points, rel=0.1)


@pytest.mark.parametrize(("n", "alpha"), [(128, 0.01 / 36), (512, 0.01)])
def test_detectable_drop_is_caught_as_often_as_promised(n, alpha):
    """A drop of that size is rejected in 80 % of simulated runs, and 1.3 times less in clearly fewer."""
    drop = smallest_detectable_drop(n, alpha)
    generator = np.random.default_rng(1)

    def caught(rate):
        flips = generator.binomial(n, rate, size=20_000)
        return np.mean(0.5**flips <= alpha)

    assert caught(drop) == pytest.approx(0.8, abs=0.01)
    assert caught(drop / 1.3) < 0.65


@pytest.mark.parametrize("k", [3, 7, 10])
def test_the_flips_a_test_needs_are_the_fewest_that_reject(k):
    """At alpha = 2^-k exactly, k flips are enough: n = k examples can detect a drop, n = k - 1 cannot."""
    alpha = 0.5**k

    assert mcnemar(k, 0) <= alpha < mcnemar(k - 1, 0)
    assert smallest_detectable_drop(k, alpha) == pytest.approx(0.8 ** (1 / k))
    assert smallest_detectable_drop(k - 1, alpha) == 1.0


def test_a_minimal_effect_limits_what_is_reported_at_large_n():
    """With 100,000 examples the test sees .01 points, but a drop below min_effect is never reported."""
    n, effect = 100_000, 0.01

    drop = smallest_detectable_drop(n, 0.01, min_effect=effect)

    assert drop > effect
    assert binom.sf(math.ceil(n * effect) - 1, n, drop) == pytest.approx(0.8, abs=1e-9)


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 10), (5, 0, 40), (12, 7, 128), (100, 3, 512), (512, 0, 512)])
def test_the_paired_interval_is_wald_after_half_a_pair_of_each_kind(b, c, n):
    """Agresti and Min, written with the counts of the 2 x 2 table: (b-c)/N', variance ((b'+c') - (b'-c')^2/N')/N'^2."""
    ours = paired_difference([1] * b + [-1] * c + [0] * (n - b - c))

    more_b, more_c, more = b + 0.5, c + 0.5, n + 2
    error = math.sqrt((more_b + more_c) - (more_b - more_c) ** 2 / more) / more
    expected = [(more_b - more_c) / more + side * norm.ppf(0.975) * error for side in (-1, 1)]
    assert list(ours) == pytest.approx([max(-1, expected[0]), min(1, expected[1])], abs=1e-12)


@pytest.mark.parametrize("shares", [(0.02, 0.0), (0.05, 0.03), (0.2, 0.05), (0.3, 0.3)])
@pytest.mark.parametrize("n", [64, 256])
def test_the_paired_interval_covers_the_difference_as_often_as_it_says(n, shares):
    """Summed exactly over all outcomes of n pairs, of which a share goes each way."""
    up, down = shares
    first = np.arange(n + 1)
    chances = binom.pmf(first[:, None], n, up) * binom.pmf(first[None, :], n - first[:, None], down / (1 - up))
    covered = 0.0
    for b, c in np.argwhere(chances > 1e-9):
        low, high = paired_difference(np.repeat([1.0, -1.0, 0.0], [b, c, n - b - c]))
        covered += chances[b, c] * (low <= up - down <= high)

    assert covered > 0.935


def test_the_paired_interval_covers_differences_of_counts():
    """Two stochastic defenses of ten draws whose chances differ from image to image."""
    generator = np.random.default_rng(3)
    n, runs, covered = 128, 1500, 0
    for _ in range(runs):
        one, other = generator.beta(0.6, 0.4, n), generator.beta(0.5, 0.5, n)
        draws = (generator.binomial(10, one) - generator.binomial(10, other)) / 10
        low, high = paired_difference(draws)
        covered += low <= 0.6 - 0.5 <= high

    assert 0.935 < covered / runs < 0.97


@pytest.mark.parametrize("differences", [[], [1.5], [-2]])
def test_differences_that_are_none_are_refused(differences):
    with pytest.raises(ValueError, match="differences of scores"):
        paired_difference(differences)


def test_two_sided_is_twice_the_smaller_side_and_never_above_one():
    values = np.array([1] * 9 + [-1] * 2)

    assert two_sided(values) == two_sided(-values) == pytest.approx(binomtest(9, 11).pvalue)
    assert two_sided(np.array([1, -1])) == 1.0
    assert two_sided(np.zeros(3, dtype=np.int64)) == 1.0


def test_noise_is_what_cancels_out():
    """Of three flips one way and one the other, two are noise; without a difference there is none."""
    assert noise_of(np.array([1.0, 1.0, 1.0, -1.0])) == 0.5
    assert noise_of(np.zeros(4)) == 0.0


@pytest.mark.parametrize("alpha", [1e-12, 1e-30, 1e-300])
def test_a_level_smaller_than_any_rounding_of_1_is_a_level(alpha):
    """Without noise it takes -log2(alpha) flips of one way, which is the closed form; noise takes more, not a crash."""
    flips = int(np.ceil(-np.log2(alpha)))
    quiet, noisy = (smallest_detectable_drop(10_000, alpha, noise=noise) for noise in (0, 0.02))

    assert flips / 10_000 < quiet < noisy < 0.2
