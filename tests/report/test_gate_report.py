"""The report of a gate: which exit status it stands for, and that it says everything it knows."""

from __future__ import annotations

import json

import pytest

from bench.report.gate_report import GateReport, GateRow

OK = GateRow("at x pgd-20 (Linf:0.2)", "ok", 512, 0.5, 0.5)
FELL = GateRow("at x fgsm (Linf:0.2)", "regression", 512, 0.6, 0.5, 0.1, 1e-9, 1e-8)


@pytest.mark.parametrize(
    ("report", "status", "conclusion"),
    [
        (GateReport((OK,), detectable=0.02), 0, "gate: no regression in 1 cells"),
        (GateReport((OK, FELL), detectable=0.02), 1, "gate: 1 of 2 cells regressed"),
        (GateReport((FELL,), ("why",), ("gone",)), 2, "gate: refused, baseline and candidate are not comparable"),
        (GateReport((FELL,), (), ("gone",)), 3, "gate: refused, cells failed or are missing"),
        (
            GateReport((OK,), detectable=0.2),
            4,
            "gate: UNDERPOWERED, a drop of 15.0 points could pass unseen: raise n or must_detect, "
            "or allow an underpowered gate",
        ),
    ],
)
def test_the_status_is_that_of_the_trouble_that_says_most_about_the_others(report, status, conclusion):
    assert report.exit_code == status
    assert report.lines[-1] == conclusion
    assert repr(report).splitlines() == report.lines


def test_the_plain_data_holds_what_is_printed():
    report = GateReport((OK, FELL), notes=("a remark",), detectable=0.02)

    told = json.loads(json.dumps(report.to_json()))

    assert [row["verdict"] for row in told["rows"]] == ["ok", "regression"]
    assert (told["exit_code"], told["underpowered"], told["notes"]) == (1, False, ["a remark"])
    assert told["conclusion"] == report.lines[-1]
