"""A finding: how grave it is, which columns it is about, and that it is read as it was written."""

import itertools
import json

import pytest

from bench.results.finding import Finding, worst

GRAVITY = ["pass", "info", "flag", "block"]


def finding(verdict="flag", message="S05: it remembers", attacks=()):
    return Finding("S05", verdict, "3", "0", message, attacks)


@pytest.mark.parametrize(
    ("verdict", "passed", "alarming"),
    [("pass", True, False), ("info", False, False), ("flag", False, True), ("block", False, True)],
)
def test_two_verdicts_are_alarms_and_one_is_none_at_all(verdict, passed, alarming):
    found = finding(verdict)

    assert (found.passed, found.alarming) == (passed, alarming)


@pytest.mark.parametrize(
    ("verdict", "message", "idle"),
    [
        ("info", "S05: not checked: answers cannot be repeated, see S03", True),
        ("info", "S05: not run: no images were given", True),
        ("info", "S05: a layer is in train mode", False),
        ("info", "S06: not checked", False),
        ("pass", "S05: not checked", False),
    ],
)
def test_a_check_that_was_not_made_says_so_under_its_own_id(verdict, message, idle):
    assert finding(verdict, message).idle is idle


def test_it_is_about_the_attacks_it_names_or_about_all():
    named = finding(attacks=("pgd-20", "mine"))

    assert [named.concerns(attack) for attack in ("pgd-20", "mine", "fgsm")] == [True, True, False]
    assert finding().concerns("fgsm")


@pytest.mark.parametrize("attacks", [(), ("pgd-20",), ("pgd-20", "mine")])
def test_what_is_written_is_read(attacks):
    """One about all attacks is written as before there were others."""
    found = finding(attacks=attacks)
    told = found.to_json()

    assert Finding.from_json(json.loads(json.dumps(told))) == found
    assert ("attacks" in told) is bool(attacks)


def test_the_worst_is_the_gravest_in_whatever_order():
    for count in range(1, 4):
        for some in itertools.permutations(GRAVITY, count):
            assert worst(map(finding, some)) == max(some, key=GRAVITY.index)
    assert worst([]) == "pass"
