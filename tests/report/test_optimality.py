"""The comparison of attacks on the screen and as data."""

import json

import pytest

from bench.errors import BenchError
from bench.report.optimality import compare_attacks
from bench.results.finding import Finding
from bench.results.outcome import Failed, Skipped
from tests.report.simulated import HOSTILE, LINF, done, matrix, result


def test_each_attack_is_a_row_beside_the_envelope():
    """60 of 64 right without attack; 30 and 45 left, in order, so that the stronger attack breaks all that any does."""
    results = [
        result(attack="weak", outcome=done(45, right=60)),
        result(attack="strong", outcome=done(30, right=60)),
    ]

    lines = compare_attacks(results).table(width=120).split("\n")

    assert lines[0] == "digits test, n=64, seed 0: attacks, defense=at, threat=Linf:8/255"
    assert [line.split()[0] for line in (lines[5], lines[7])] == ["strong", "weak"]
    assert lines[5].split() == ["strong", "46.9", "100.0", "23.4", "1+1"]
    assert lines[7].split() == ["weak", "70.3", "50.0", "0.0", "1+1"]


def test_what_failed_or_is_missing_is_shown_as_such_and_makes_bounds():
    results = [
        result(attack="fine", outcome=done(30)),
        result(attack="broken", outcome=Failed("broke")),
        result(attack="later"),
        result(attack="never", outcome=Skipped("no")),
    ]

    comparison = compare_attacks(results)
    text = comparison.table(width=120)

    rows = {line.split()[0]: line.split() for line in text.split("\n") if line and not line[0].isspace()}
    assert rows["fine"] == ["fine", "46.9", "<=", "100.0", "<=", "53.1", "1+1"]
    assert rows["broken"] == ["broken", "FAIL", "-", "-", "-"]
    assert rows["later"] == ["later", "...", "-", "-", "-"]
    assert "never" not in text
    assert "<= an upper bound" in text
    assert [each["state"] for each in comparison.to_json()] == ["done", "failed", "missing"]


def test_a_blocked_defense_shows_no_number():
    block = Finding("A05", "block", "1", "0", "A05: why")
    comparison = compare_attacks(
        [result(outcome=done(60), findings=(block,)), result("ap", outcome=done(30))],
    )

    text = comparison.table(width=120)
    row = next(line for line in text.split("\n") if line.split()[:2] == ["pgd-20", "at"])
    assert row.split() == ["pgd-20", "at", "BLOCK!", "-", "-", "-"]
    assert "93.8" not in text
    (told,) = [each for each in comparison.to_json() if each["defense"] == "at"]
    assert all(
        told[name] is None for name in ("accuracy", "optimality", "area", "alone", "global", "forwards", "backwards")
    )


def test_two_defenses_have_a_mean():
    results = [
        result(defense, attack, LINF, done(robust))
        for defense, attack, robust in (("at", "a", 32), ("at", "b", 0), ("ap", "a", 0), ("ap", "b", 16))
    ]

    comparison = compare_attacks(results)

    assert {each["attack"]: each["global"] for each in comparison.to_json()} == {"a": 0.75, "b": 0.875}
    means = [line.split() for line in comparison.table(width=120).split("\n") if "all defenses  " in line]
    assert means == [["b", "all", "defenses", "87.5"], ["a", "all", "defenses", "75.0"]]


def test_without_attacks_there_is_nothing_to_compare():
    with pytest.raises(BenchError, match="no attack was run here"):
        compare_attacks([result(outcome=Skipped("no"))])


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("style", ["screen", "grid", "markdown", "latex", "html"])
def test_no_name_does_harm(name, style):
    comparison = compare_attacks(matrix([name, "at"], [name, "pgd-20"]))

    text = comparison.table(style, width=120)

    assert all(char.isprintable() or char == "\n" for char in text)
    if style == "html":
        assert "<img" not in text
    if style == "latex":
        assert r"\input{/etc" not in text
        assert r"\write18" not in text
    assert json.loads(json.dumps(comparison.to_json()))[0]["attack"] in (name, "pgd-20")
