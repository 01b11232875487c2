"""The checks of the page: every row, and the grave ones first."""

from bench.report.page.checks import checked
from tests.report.page.simulated import BLOCK, FLAG, PASSED, cells


def test_every_finding_is_there_and_the_grave_ones_come_first():
    found = checked(cells())

    assert [(each.title, each.verdict, each.alarming) for each in found] == [
        ("masked", "block", True),
        ("ap under Linf:8/255", "flag", True),
        ("ap under stadv:0.4", "flag", True),
        ("ap under L2:0.5", "flag", True),
        ("at", "pass", False),
    ]
    assert found[0].findings == (BLOCK, PASSED)
    assert found[0].counts == "1 blocked, 1 passed"
    assert found[1].findings == (FLAG,)


def test_without_checks_there_is_nothing():
    assert checked([each for each in cells() if not each.findings]) == []
