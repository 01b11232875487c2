"""Floors: what they name, what breaks them, and what is never taken for a number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.report.floors import Floor, hold, parse_floor
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Done, Evidence, Failed, Skipped, Verdicts
from bench.results.stats import wilson
from bench.threats import ThreatModel

N = 100


def result(robust, *, defense="at", attack="pgd-20", threat="Linf:0.2", draws=1, dataset="digits", findings=()):
    """The first `robust` of 100 images withstand, the first 90 are right without attack; or another outcome."""
    if isinstance(robust, int):
        index = np.arange(N)
        clean, counts = ((np.where(index < k, draws, 0)).astype(np.uint8) for k in (90, robust))
        robust = Done(Verdicts(draws, clean, counts))
    cell = Cell(
        DefenseRef(defense, defense, defense, draws > 1),
        AttackRef(attack, attack, attack),
        ThreatModel.parse(threat),
        Slice(dataset, "test", N, "e" * 64),
        0,
        draws,
        64,
    )
    return Result(cell, robust, tuple(findings))


def held(text, *results):
    return hold([parse_floor(text)], results)


@pytest.mark.parametrize(
    ("text", "place", "share"),
    [
        ("at/pgd-20=0.40", "at/pgd-20", 0.4),
        ("atop[rt=2]/pgd-20[steps=5]@Linf:8/255=.5", "atop[rt=2]/pgd-20[steps=5]@Linf:8/255", 0.5),
        (" at/standard = 1", "at/standard", 1),
    ],
)
def test_a_floor_is_what_stands_behind_its_last_equals_sign(text, place, share):
    assert parse_floor(text) == Floor(place, share)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at/pgd-20", "is no floor: write DEFENSE/ATTACK=SHARE"),
        ("at=0.4", "is no floor"),
        ("=0.4", "is no floor"),
        ("at/pgd-20[steps=5]", "is no floor"),
        ("at/pgd-20=40", "is out of range: give a share from 0 to 1"),
        ("at/pgd-20=-0.1", "is out of range"),
        ("at/pgd-20=nan", "is out of range"),
        ("at/pgd-20=40%", "is out of range"),
        ("at/pgd-20=", "is out of range"),
    ],
)
def test_what_is_no_floor_is_one_line_with_the_remedy(text, said):
    with pytest.raises(BenchError) as error:
        parse_floor(text)
    assert said in str(error.value)
    assert repr(text) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("floor", "verdict"), [("0.39", "ok"), ("0.40", "ok"), ("0.4000001", "below"), ("0.41", "below")]
)
def test_the_observed_accuracy_decides_and_the_interval_is_told(floor, verdict):
    """40 of 100: a floor of exactly .40 holds."""
    (row,) = held(f"at/pgd-20={floor}", result(40))

    assert (row.verdict, row.n, row.accuracy) == (verdict, 100, 0.4)
    assert (row.low, row.high) == tuple(wilson(40, 100))
    assert row.contained
    assert ("<" in row.line) == (verdict == "below")
    assert "contains the floor" in row.line


def test_a_floor_far_from_the_accuracy_is_outside_of_its_interval():
    (low,) = held("at/pgd-20=0.1", result(40))
    (high,) = held("at/pgd-20=0.9", result(40))

    assert not low.contained
    assert not high.contained
    assert "does not contain the floor" in high.line


def test_a_sum_of_shares_of_draws_is_not_below_itself_by_rounding():
    """One draw of ten on each of seven images: the mean is 0.09999999999999999."""
    outcome = Done(Verdicts(10, np.full(7, 10, np.uint8), np.full(7, 1, np.uint8)))

    (row,) = held("atop/pgd-20=0.1", result(outcome, defense="atop", draws=10))

    assert row.accuracy < 0.1
    assert (row.verdict, row.judged) == ("ok", "mean-of-10")


def test_what_a_floor_can_name():
    results = [result(40), result(30, attack="fgsm"), result(20, threat="L2:1"), result(5, defense="ap")]

    for text, accuracy in {
        "at/standard": 0.9,
        "at/fgsm": 0.3,
        "at/pgd-20@Linf:0.2": 0.4,
        "at/pgd-20@Linf:0.20": 0.4,
        "at/pgd-20@L2:1": 0.2,
        "at/worst-all": 0.2,
        "at/worst-unseen": 0.2,
        "ap/pgd-20@Linf:0.2": 0.05,
    }.items():
        (row,) = held(f"{text}=0", *(results[:3] if text.startswith("at") else results[3:]))
        assert (text, row.accuracy) == (text, accuracy)


def test_labels_may_hold_slashes_at_signs_and_brackets():
    label, attack = "./models/at.py:build[a=b]", "./mine@home.py:attack"

    (row,) = held(f"{label}/{attack}@Linf:0.2=0.1", result(40, defense=label, attack=attack))
    (again,) = held(f"{label}/{attack}=0.1", result(40, defense=label, attack=attack))

    assert row == again
    assert row.title == f"{label}/{attack} (Linf:0.2)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("att/pgd-20=0", "unknown defense of these results 'att': did you mean at?"),
        ("at/pgd-2=0", "unknown attack of these results 'pgd-2': did you mean pgd-20?"),
        ("at/standrad=0", "did you mean standard?"),
        ("at/pgd-20@L2:9=0", "unknown threat of pgd-20 in these results 'L2:9'"),
        ("at/pgd-20@Linf=0", "has no eps"),
        ("at/pgd-20=0", "'pgd-20' was run under Linf:0.2, L2:1: name one, as pgd-20@Linf:0.2"),
    ],
)
def test_a_name_that_is_not_there_is_one_line(text, said):
    with pytest.raises(BenchError) as error:
        held(text, result(40), result(20, threat="L2:1"))
    assert said in str(error.value)


BLOCK = Finding("S05", "block", "1", "0", "S05: answers depend on the batch")


@pytest.mark.parametrize(
    ("text", "results", "why"),
    [
        ("at/pgd-20=0", [result(None)], "missing: not run yet"),
        ("at/pgd-20=0", [result(Failed("out of\nmemory"))], "failed: out of memory"),
        ("at/pgd-20=0", [result(Skipped("no such pair"))], "skipped: no such pair"),
        ("at/standard=0", [result(None)], "missing: no cell finished yet"),
        ("at/worst-seen=0", [result(40)], "skipped: no threat here was seen in training"),
        (
            "at/worst-all=0",
            [result(40), result(Failed("x"), attack="fgsm")],
            "an upper bound: 1 of 2 cells failed or missing",
        ),
        ("at/pgd-20=0", [result(None, findings=[BLOCK])], "blocked: S05: answers depend on the batch"),
        ("at/pgd-20=0", [result(40, findings=[BLOCK])], "blocked: S05: answers depend on the batch"),
        (
            "at/fgsm=0",
            [result(40, findings=[BLOCK]), result(30, attack="fgsm")],
            "blocked: S05: answers depend on the batch",
        ),
        ("at/standard=0", [result(40, findings=[BLOCK])], "blocked: S05: answers depend on the batch"),
    ],
)
def test_without_a_number_no_floor_holds_however_low(text, results, why):
    """A worst case over fewer attacks is only an upper bound, and a blocked defense has no number."""
    (row,) = held(text, *results)

    assert (row.verdict, row.accuracy, row.reason) == ("absent", None, why)
    assert "no accuracy to hold" in row.line


def test_a_floor_is_for_every_set_of_images():
    rows = held("at/pgd-20=0.4", result(40), result(10, dataset="other"))

    assert [(row.dataset, row.verdict) for row in rows] == [("digits", "ok"), ("other", "below")]


def test_without_floors_results_are_not_even_looked_at():
    """Two defenses of one name are the comparison's to refuse."""
    mixed = [result(40), replace(result(30, attack="fgsm"), cell=replace(result(30).cell, seed=0))]

    assert hold([], [*mixed, *mixed]) == ()


@pytest.mark.parametrize("floor", ["at/autoattack=0.4", "at/worst-all=0.4"])
def test_an_attack_whose_parts_found_no_gradient_keeps_no_floor(floor):
    """Only Square was left of AutoAttack: that its 80 of 100 are above the floor says nothing."""
    found = result(80, attack="autoattack")
    lost = replace(found, outcome=replace(found.outcome, evidence=Evidence(unable=("apgd-ce", "fab-t"))))

    assert held(floor, found)[0].verdict == "ok"
    (row,) = held(floor, lost)
    assert (row.verdict, row.accuracy) == ("absent", None)
    assert row.reason == "an upper bound: there is no gradient for apgd-ce, fab-t"


def test_an_attack_that_knew_the_draws_holds_no_floor():
    known = result(50, attack="known-draws", draws=10)
    known = replace(known, cell=replace(known.cell, attack=replace(known.cell.attack, known_draws=True)))

    with pytest.raises(BenchError, match="unknown attack of these results 'known-draws'"):
        held("at/known-draws=0.4", result(60, draws=10), known)
