"""How draws become an accuracy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.results.judging import Judge, accuracy_of, judges
from bench.results.stats import wilson

MEAN, WORST, MAJORITY, RESUBMISSION = judges(stochastic=True, draws=10)
ONCE = judges(stochastic=False, draws=1)[0]


def test_judges_are_named_as_the_field_names_them():
    """Ten draws: mean, worst and majority; one draw: one-shot; no randomness: deterministic."""
    names = [judge.name for judge in (MEAN, WORST, MAJORITY, RESUBMISSION, *judges(stochastic=True, draws=1), ONCE)]

    assert names == ["mean-of-10", "worst-of-10", "majority-of-10", "5-resubmission", "one-shot", "deterministic"]


def test_ten_draws_are_judged_three_ways():
    """10, 6, 5 and 0 correct of 10: mean 52.5 %, one of four always right, two of four by majority."""
    counts = np.array([10, 6, 5, 0], dtype=np.uint8)

    values = [accuracy_of(counts, judge).value for judge in (MEAN, WORST, MAJORITY)]

    assert values == [0.525, 0.25, 0.5]


def test_resubmission_is_an_unbiased_estimate_of_the_fifth_power():
    """Over all outcomes of ten draws at p = .8 the score averages to p^5, exactly."""
    counts = np.arange(11, dtype=np.uint8)
    chances = [math.comb(10, k) * 0.8**k * 0.2 ** (10 - k) for k in range(11)]

    expected = float(RESUBMISSION.scores(counts) @ np.array(chances))

    assert expected == pytest.approx(0.8**5)


@pytest.mark.parametrize(("count", "right"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_majority_of_an_odd_number_needs_more_than_half(count, right):
    """Two of three are a majority."""
    judge = Judge("majority-of-3", "majority", 3)

    assert judge.scores(np.array([count], dtype=np.uint8)).tolist() == [right]


def test_the_interval_counts_examples_not_draws():
    """Ten draws of one image are not ten images: n stays 4."""
    accuracy = accuracy_of(np.array([10, 6, 5, 0], dtype=np.uint8), MEAN)

    assert accuracy.n == 4
    assert accuracy.interval == wilson(2.1, 4)
    assert accuracy.judged == "mean-of-10"


@pytest.mark.parametrize("draws", [6, 10, 40])
@pytest.mark.parametrize("chance", [0.0, 0.03, 0.5, 0.8, 0.99, 1.0])
def test_mean_and_resubmission_are_unbiased_whatever_the_chance(draws, chance):
    """Averaged over all outcomes of N draws they are p and p^5. As N + 1 counts are complete, no other estimate is."""
    counts = np.arange(draws + 1, dtype=np.uint8)
    chances = [math.comb(draws, k) * chance**k * (1 - chance) ** (draws - k) for k in range(draws + 1)]
    mean, *_, resubmission = judges(stochastic=True, draws=draws)

    assert mean.scores(counts) @ np.array(chances) == pytest.approx(chance)
    assert resubmission.scores(counts) @ np.array(chances) == pytest.approx(chance**5)


def test_over_fixed_examples_the_judges_estimate_what_they_are_named_for():
    """4,000 evaluations of 8 examples with known chances: within four standard errors of what is true."""
    chances = np.array([0.02, 0.2, 0.5, 0.6, 0.8, 0.9, 0.97, 1.0])
    counts = np.random.default_rng(0).binomial(10, chances, (4000, 8)).astype(np.uint8)
    majority = [sum(math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(6, 11)) for p in chances]
    true = {"mean": chances, "resubmission": chances**5, "worst": chances**10, "majority": np.array(majority)}

    for judge in judges(stochastic=True, draws=10):
        values = np.array([accuracy_of(each, judge).value for each in counts])
        assert abs(values.mean() - true[judge.rule].mean()) < 4 * values.std() / len(values) ** 0.5
