"""What the checks say, as text: every row once, under what it is about."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.report.checks import render
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.threats import ThreatModel

GRADIENT = Finding("S05", "flag", "3/32", "1%", "S05: no usable gradient on 3/32")
FINITE = Finding("S01", "pass", "0/32", "0", "S01: all logits are finite")
STRONGER = Finding("A03", "block", "12%", "1%", "A03: a transfer does better: run more")


def result(defense, attack, threat, *findings):
    ref = DefenseRef(defense, defense, defense, False, ())
    part = Slice("digits", "test", 32, "images")
    cell = Cell(ref, AttackRef(attack, attack, attack), ThreatModel.parse(threat), part, 0, 1, 32)
    return Result(cell, None, tuple(findings))


RESULTS = [
    result("at", "pgd-20", "Linf:0.2", FINITE, GRADIENT, STRONGER),
    result("at", "fgsm", "Linf:0.2", FINITE, GRADIENT, STRONGER),
    result("at", "pgd-20", "L2:0.5", FINITE, GRADIENT),
    result("ap", "pgd-20", "Linf:0.2", FINITE),
]


def test_a_defense_has_its_rows_once_and_a_threat_those_of_its_attacks():
    """In the order of the table, whatever cells they stand beside; the message without its id."""
    blocks = [block.split("\n") for block in render(RESULTS).rstrip("\n").split("\n\n")]

    assert [block[0] for block in blocks] == ["at", "at under Linf:0.2", "ap"]
    rows = {block[0]: [line.split() for line in block[3:] if line.strip()] for block in blocks}
    assert rows["at"] == [
        ["S01", "pass", "0/32", "0", "all", "logits", "are", "finite"],
        ["S05", "flag", "3/32", "1%", "no", "usable", "gradient", "on", "3/32"],
    ]
    assert rows["at under Linf:0.2"] == [
        ["A03", "block", "12%", "1%", "a", "transfer", "does", "better:", "run", "more"]
    ]
    assert [row[0] for row in rows["ap"]] == ["S01"]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_it_fits_the_screen_and_no_word_is_lost(width):
    told = render(RESULTS, width)

    assert max(map(len, told.split("\n"))) <= width
    # Folded into blocks, its first columns stand in each.
    assert Counter(told.split()) >= Counter(word for word in render(RESULTS).split() if word.strip("-"))


def test_where_nothing_was_checked_it_says_so():
    with pytest.raises(BenchError, match="no checks in these results: run without --checks none"):
        render([result("at", "pgd-20", "Linf:0.2")])
