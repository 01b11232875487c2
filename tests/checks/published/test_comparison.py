"""Whether two printed numbers differ: against enumeration and the planning table."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from bench.checks.published.claim import PublishedComparison
from bench.checks.published.comparison import examples_needed, unpaired_p
from bench.checks.published.report import audit_claim
from tests.checks.published.stated import CLAIM


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_the_unpaired_test_is_twice_the_smaller_hypergeometric_tail(n_a, n_b, data):
    a, b = data.draw(st.integers(0, n_a)), data.draw(st.integers(0, n_b))

    p = unpaired_p(a, n_a, b, n_b)

    law = hypergeom(n_a + n_b, n_a, a + b)
    smaller = min(law.cdf(a), law.sf(a - 1))
    assert p == pytest.approx(min(1.0, 2 * smaller), rel=1e-8, abs=1e-300)
    assert p == pytest.approx(unpaired_p(b, n_b, a, n_a), rel=1e-8, abs=1e-300)


def test_the_unpaired_test_is_quick_and_finite_at_the_largest_n():
    n = 10**7

    assert unpaired_p(0, n, n, n) == 0.0
    assert unpaired_p(n // 2, n, n // 2, n) == pytest.approx(1.0, abs=0.01)
    assert unpaired_p(n // 2 + 1200, n, n // 2 - 1200, n) == pytest.approx(0.2831, abs=1e-3)


@pytest.mark.parametrize(
    ("drop", "alpha", "expected"), [(0.01, 0.05, 29_796), (0.02, 0.01, 12_138), (0.05, 0.001, 3021), (0.05, 0.05, 1208)]
)
def test_the_examples_needed_are_those_of_the_planning_table(drop, alpha, expected):
    """Base 60 %, 80 % power, one-sided; the table's normal approximations differ by a percent or two."""
    assert examples_needed(0.6, 0.6 - drop, tail=alpha) == pytest.approx(expected, rel=0.02)


def test_the_examples_needed_are_for_the_two_sided_test_that_is_printed():
    """At that n about 80 % of simulated pairs are resolved, and at half of it far fewer."""
    generator = np.random.default_rng(3)

    def power(n):
        pairs = generator.binomial(n, [0.5625, 0.6406], size=(400, 2)).tolist()
        return sum(unpaired_p(a, n, b, n) < 0.05 for a, b in pairs) / len(pairs)

    needed = examples_needed(0.5625, 0.6406)
    assert power(needed) == pytest.approx(0.8, abs=0.06)
    assert power(needed // 2) < 0.6


def test_equal_numbers_need_no_examples_to_be_told_apart():
    assert examples_needed(0.5, 0.5) is None


def test_a_comparison_without_n_is_not_resolved():
    claim = dataclasses.replace(CLAIM, n=None, comparison=PublishedComparison(Decimal("10.0")))

    contrast = audit_claim(claim).contrast

    assert contrast.resolved is None
    assert (contrast.points, contrast.needed) == ("+35.0", examples_needed(0.45, 0.1))
