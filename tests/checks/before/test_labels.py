"""S02 and S03: the exact test that tells two shares apart."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from bench.checks.before.labels import fisher


@pytest.mark.parametrize(("a", "n", "b", "m"), [(64, 64, 50, 64), (3, 10, 4, 12), (0, 5, 2, 5), (5, 5, 0, 5)])
def test_the_exact_test_of_two_shares_is_the_hypergeometric_tail(a, n, b, m):
    """Counted out with binomial coefficients."""
    total = math.comb(n + m, a + b)
    ways = sum(math.comb(n, k) * math.comb(m, a + b - k) for k in range(a, min(n, a + b) + 1))

    assert fisher(a, n, b, m) == pytest.approx(float(Fraction(ways, total)), rel=1e-9)
