"""The printed numbers of a claim: which of them are possible, and their intervals."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from scipy.stats import binomtest

from bench.checks.published.report import audit_claim
from bench.results.printed import counts
from tests.checks.published.stated import CLAIM, with_protocol


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
