"""The measures on the screen: bounds, marks, reasons, and nothing of a blocked defense."""

import pytest

from bench.report.generalization import render_measures
from bench.results.finding import Finding
from bench.results.outcome import Failed
from tests.report.simulated import HOSTILE, L2, LINF, done, result


def test_each_measure_is_a_column_and_each_reason_a_note():
    results = [
        result(outcome=done(50), trained_on=(LINF,)),
        result("at", "fgsm", L2, done(30), trained_on=(LINF,)),
        result("at", "other", L2, Failed("broke"), trained_on=(LINF,)),
        result("standard", outcome=done(5)),
    ]

    lines = render_measures(results, 120).split("\n")

    assert lines[0] == "digits test, n=64, seed 0: generalization"
    assert lines[2].split() == ["defense", "mean-unseen", "worst-unseen", "gap"]
    assert lines[4].split() == ["at", "<=", "46.9", "<=", "46.9", ">=", "+31.2"]
    assert lines[6].split() == ["standard", "-", "[1]", "<=", "7.8", "-", "[2]"]
    assert "<= an upper bound, >= a lower one: cells failed or are missing." in lines
    assert "[2] no threat here was seen in training" in lines
    assert "UAR, mUAR, CR and SC are calibrated for cifar10 only." in lines


def test_a_blocked_defense_shows_no_number():
    block = Finding("A05", "block", "1", "0", "A05: why")

    text = render_measures([result(outcome=done(60), findings=(block,)), result("ap", outcome=done(30))], 120)

    row = next(line for line in text.split("\n") if line.startswith("at"))
    assert row.split() == ["at", "BLOCK", "BLOCK", "BLOCK"]
    assert "93.8" not in text


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_does_harm(name):
    text = render_measures([result(name, outcome=done(60))], 120)

    assert all(char.isprintable() or char == "\n" for char in text)
