"""Which counts a printed number allows: against brute force."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.results.printed import counts, nearest_count, truncated_count


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_the_possible_counts_are_those_whose_share_rounds_to_the_number(digits):
    """For every n up to 600: rounding each k, half up and half to even, gives the counts of every number nearby."""
    for n in range(1, 601):
        expected = {}
        for k in range(n + 1):
            below, rest = divmod(100 * 10**digits * k, n)
            up = below + (2 * rest >= n)
            even = below + (below % 2 if 2 * rest == n else 2 * rest > n)
            expected.setdefault(up, set()).add(k)
            expected.setdefault(even, set()).add(k)

        nearby = {value + step for value in expected for step in (-1, 0, 1)}
        for value in nearby & set(range(100 * 10**digits + 1)):
            assert set(counts(Decimal(value).scaleb(-digits), n)) == expected.get(value, set()), (value, n)


@settings(deadline=None)
@given(st.integers(1, 10**7), st.data(), st.integers(0, 6), st.sampled_from([ROUND_HALF_UP, ROUND_HALF_EVEN]))
def test_a_number_that_was_printed_from_a_count_is_never_called_impossible(n, data, digits, rule):
    k = data.draw(st.integers(0, n))
    # Exact to the half: with 50 digits no quotient of seven-digit numbers is mistaken for a tie.
    share = Decimal(100 * k * 10**20 // n).scaleb(-20) + (Decimal(1).scaleb(-21) if 100 * k * 10**20 % n else 0)
    printed = share.quantize(Decimal(1).scaleb(-digits), rule)

    assert k in counts(printed, n)


@pytest.mark.parametrize(
    ("printed", "n", "expected"),
    [
        ("72.85", 512, [373]),
        ("38.89", 512, []),
        ("80.02", 512, []),
        ("64.06", 64, [41]),
        ("90.04", 64, []),
        ("100", 512, [510, 511, 512]),
        ("0.00", 512, [0]),
        ("0.2", 512, [1]),  # 1/512 is 0.195 %
        ("12.5", 8, [1]),
        ("12", 8, [1]),  # half to even
        ("13", 8, [1]),  # half up
        ("38", 8, [3]),  # 37.5 goes to 38 by either rule
        ("37", 8, []),
    ],
)
def test_known_counts(printed, n, expected):
    assert list(counts(Decimal(printed), n)) == expected


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 10_000))
def test_the_nearest_count_is_the_nearest(n, hundredths):
    printed = Decimal(hundredths).scaleb(-2)

    k = nearest_count(printed, n)

    gaps = [abs(Fraction(100 * other, n) - Fraction(printed)) for other in (k - 1, k, k + 1)]
    assert 0 <= k <= n
    assert gaps[1] == min(gaps)


@pytest.mark.parametrize(("printed", "n", "expected"), [("38.86", 512, 199), ("38.87", 512, None), ("100", 3, 3)])
def test_a_number_that_was_cut_off_is_recognized(printed, n, expected):
    assert truncated_count(Decimal(printed), n) == expected
