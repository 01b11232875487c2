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
