"""Test cases fail exactly where the exit status does."""

from __future__ import annotations

import pytest

from bench.report.ci.cases import cases
from bench.report.gate_report import GateReport
from tests.report.ci.reports import FELL, GONE, HOSTILE, OK, REPORTS, STATUSES, hostile


@pytest.mark.parametrize("kind", REPORTS)
def test_a_case_fails_exactly_if_the_status_is_not_0(kind):
    report = REPORTS[kind]
    failing = [case for case in cases(report) if case.outcome in ("failure", "error")]

    assert report.exit_code == STATUSES[kind]
    assert bool(failing) == (report.exit_code != 0)
    assert all(case.message and case.kind for case in failing)


def test_every_cell_and_floor_is_a_case():
    names = [(case.name, case.outcome) for case in cases(REPORTS["regression"])]

    assert names == [
        ("at x pgd-20 (Linf:0.2)", "passed"),
        ("at x fgsm (Linf:0.2)", "failure"),
        ("at x fgsm (L2:1)", "passed"),
        ("power", "passed"),
    ]
    assert [case.name for case in cases(REPORTS["broken floor"])] == [
        "floor at/pgd-20 (Linf:0.2)",
        "floor at/fgsm (Linf:0.2)",
    ]


def test_a_refusal_is_told_once():
    """By the row it is about, or by a case of its own if it is about none."""
    assert [case.name for case in cases(REPORTS["not comparable"])] == [
        "at x pgd-20 (Linf:0.2)",
        "at x noise (Linf:0.2)",
        "power",
    ]
    whole = [case for case in cases(REPORTS["refused as a whole"]) if case.outcome == "error"]
    assert [(case.name, case.kind) for case in whole] == [("comparison", "not-comparable")]


def test_a_gate_that_may_be_blind_is_skipped_not_passed():
    (power,) = [case for case in cases(REPORTS["underpowered, allowed"]) if case.name == "power"]

    assert power.outcome == "skipped"
    assert "could pass unseen" in power.message


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_printable_and_each_occurs_once(name):
    found = cases(hostile(name))

    assert all(each.isprintable() for case in found for each in (case.name, case.group, case.message))
    assert len({(case.group, case.name) for case in found}) == len(found)


def test_a_case_takes_the_time_that_measuring_took():
    """And nothing is said to have been measured where it was not."""
    assert [case.seconds for case in cases(GateReport((OK, FELL, GONE)))] == [1.25, 0, 0, 0]
