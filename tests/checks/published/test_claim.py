"""A claim keeps what was printed and says what follows from what it states."""

from __future__ import annotations

from bench.catalogue.percentages import decimals
from bench.checks.published.protocol import differences
from bench.checks.published.reading import parse_claim
from tests.checks.published.stated import with_protocol


def test_a_single_draw_is_judged_one_shot_without_saying_so():
    found = {item.field: item.claimed for item in differences(with_protocol(draws=1, judged=None))}

    assert found["judged"] == "one-shot"


def test_a_claim_keeps_the_decimals_that_were_printed():
    claim = parse_claim('title = "t"\nrobust = 70.10\nstandard = "90.0"\n[[numbers]]\nattack = "a"\nrobust = 7')

    printed = [claim.robust, claim.standard, claim.numbers[0].robust]
    assert [str(value) for value in printed] == ["70.10", "90.0", "7"]
    assert [decimals(value) for value in printed] == [2, 1, 0]
