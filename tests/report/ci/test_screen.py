"""The table on the screen: every cell, the trouble first, nothing but text."""

from __future__ import annotations

import pytest

from bench.report.ci.screen import screen
from tests.report.ci.reports import HOSTILE, REPORTS, hostile


def test_every_cell_has_a_row_and_those_that_fail_stand_first():
    assert screen(REPORTS["regression"], 120).splitlines() == [
        "cell                      n  baseline  candidate  change  adjusted p  verdict",
        "----------------------  ---  --------  ---------  ------  ----------  -----------",
        "at x fgsm (Linf:0.2)    512    60.0 %     50.0 %   -10.0       1e-08  REGRESSION",
        "at x pgd-20 (Linf:0.2)  512    50.0 %     50.0 %     0.0           1  ok",
        "at x fgsm (L2:1)        512    50.0 %     60.0 %   +10.0       1e-09  improvement",
        "",
        "REGRESSION at x fgsm (Linf:0.2): 60.0 % -> 50.0 % (drop 10.0 points, adjusted p = 1e-08)",
        "improvement at x fgsm (L2:1): 50.0 % -> 60.0 % (rise 10.0 points, adjusted p = 1e-09)",
        "n=512, 3 cells: drops of 2.0 points or more would be caught 80 % of the time",
        "gate: 1 of 3 cells regressed",
    ]


def test_a_cell_without_numbers_has_none_in_its_row():
    (row,) = [line for line in screen(REPORTS["absent"], 120).splitlines() if line.startswith("at x apgd-t")]

    assert row.split("  ")[-1].strip() == "ABSENT"
    assert "%" not in row


@pytest.mark.parametrize("kind", REPORTS)
def test_quietly_only_what_is_wrong_is_said(kind):
    """Nothing at all where nothing is; else the trouble and the conclusion, and no row that passed."""
    report = REPORTS[kind]
    text = screen(report, 120, quiet=True)

    assert bool(text) == (report.exit_code != 0)
    assert "improvement" not in text
    if text:
        assert text.splitlines()[-1].split()[-1] == report.conclusion.split()[-1]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("quiet", [False, True])
def test_no_name_reaches_the_terminal_as_more_than_text(name, quiet):
    text = screen(hostile(name), 100, quiet=quiet)

    assert all(line.isprintable() for line in text.split("\n"))
