"""Which counts a printed number allows: against brute force."""

from __future__ import annotations

import dataclasses
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from bench.checks.published.numbers import counts, nearest_count, truncated_count
from bench.checks.published.report import audit_claim
from tests.checks.published.stated import CLAIM, with_protocol


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


def test_an_impossible_number_comes_with_its_neighbors_and_the_sizes_that_allow_it():
    claim = dataclasses.replace(CLAIM, robust=Decimal("80.02"), standard=None, n=512)

    (robust,) = audit_claim(claim).numbers

    assert robust.possible is False
    assert [robust.share(k) for k in robust.neighbours] == ["409/512 = 79.883", "410/512 = 80.078"]
    sizes = robust.to_json()["possible_n"]
    assert 10_000 in sizes
    assert 512 not in sizes
    assert all(any(abs(Decimal(100 * k) / n - robust.printed) <= Decimal("0.005") for k in range(n)) for n in sizes)
    smaller = [n for n in range(1, min(sizes)) if counts(robust.printed, n)]
    assert smaller == []


def test_a_mean_of_draws_has_a_finer_grid_but_the_interval_of_its_examples():
    """At n=512 there is no 38.89; the mean of ten draws has it, and 64 examples stay 64."""
    claim = with_protocol(judged="mean", draws=10)
    ten = audit_claim(dataclasses.replace(claim, robust=Decimal("38.89"), standard=None, n=512)).numbers[0]
    one = audit_claim(dataclasses.replace(CLAIM, robust=Decimal("38.89"), standard=None, n=512)).numbers[0]

    assert (one.possible, ten.possible) == (False, True)
    assert ten.wilson(512).high - ten.wilson(512).low == pytest.approx(
        one.wilson(512).high - one.wilson(512).low, rel=0.01
    )
    assert ten.exact is None
    assert one.exact is not None


def test_runs_are_averaged_and_a_standard_accuracy_without_clean_twin_is_of_one_draw():
    """The mean of 3 runs over 10 draws is k of 30 n, the standard accuracy beside it k of 3 n."""
    claim = dataclasses.replace(with_protocol(judged="mean", draws=10, clean_twin=False), runs=3)

    robust, standard = audit_claim(claim).numbers

    assert (robust.cells, standard.cells) == (30_000, 3000)


def test_without_n_the_sizes_are_those_that_allow_every_number():
    audited = audit_claim(dataclasses.replace(CLAIM, robust=Decimal("80.27"), standard=Decimal("88.48"), n=None))

    assert {512, 1024, 10_000} <= set(audited.candidates)
    assert not {64, 100, 128, 256, 500, 1000} & set(audited.candidates)
    assert "n" in audited.not_stated
    assert audited.numbers[0].possible is None


def test_a_number_with_its_own_n_says_nothing_about_the_n_of_the_others():
    """80.02 is no k/512, but it is a number of 5000 other examples."""
    claim = dataclasses.replace(CLAIM, robust=Decimal("80.27"), n=None, standard=Decimal("80.02"), standard_n=5000)

    audited = audit_claim(claim)

    assert 512 in audited.candidates
    assert audited.numbers[1].possible is True


@pytest.mark.parametrize(
    ("printed", "n", "low", "high"),
    [
        ("59.18", 512, 54.9, 63.4),
        ("72.85", 512, 68.8, 76.5),
        ("59.57", 512, 55.3, 63.7),
        ("43.55", 512, 39.3, 47.9),
        ("56.25", 64, 44.1, 67.7),
        ("64.06", 64, 51.8, 74.7),
    ],
)
def test_the_intervals_of_the_published_numbers_are_the_known_ones(printed, n, low, high):
    item = audit_claim(dataclasses.replace(CLAIM, robust=Decimal(printed), n=n)).numbers[0].to_json()

    assert [round(end, 1) for end in item["wilson"]] == [low, high]
    exact = binomtest(item["counts"][0], n).proportion_ci(method="exact")
    assert item["clopper_pearson"] == pytest.approx([100 * exact.low, 100 * exact.high], abs=0.006)
