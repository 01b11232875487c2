"""Accuracies as printed: what is kept, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.catalogue.percentages import as_printed, decimals, shown
from bench.errors import BenchError


@pytest.mark.parametrize(
    ("value", "text"),
    [(Decimal("70.10"), "70.10"), ("0.00", "0.00"), (7, "7"), ("1E+1", "10"), (Decimal("-0.0"), "0.0")],
)
def test_every_printed_decimal_is_kept(value, text):
    assert str(as_printed("robust", value)) == text


@given(st.decimals(0, 100, places=2))
def test_a_percentage_is_itself(value):
    if value >= 1 or value == 0:
        assert as_printed("robust", str(value)) == value
        assert decimals(as_printed("robust", str(value))) == 2


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (101, "from 0 to 100"),
        (-1, "from 0 to 100"),
        ("nan", "from 0 to 100"),
        ("many", "from 0 to 100"),
        (True, "percent as printed"),
        (70.1, "percent as printed"),
        (None, "percent as printed"),
        (Decimal("0.7285"), "looks like a share: write percent, such as 72.85"),
        (Decimal("1.1234567"), "at most 6"),
    ],
)
def test_what_is_no_percentage_is_refused_in_one_line(value, says):
    with pytest.raises(BenchError, match=says) as error:
        as_printed("robust", value)
    assert "\n" not in str(error.value)


def test_a_long_value_is_cut_in_a_message():
    assert len(shown("x" * 100)) == 40
    assert shown(10**5000) == "a very long number"
