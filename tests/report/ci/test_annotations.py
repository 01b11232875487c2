"""Workflow commands, read as the runner of GitHub Actions reads them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.report.ci.annotations import commands, fenced, on_github
from bench.report.gate_report import GateReport
from tests.report.ci.reports import FELL, HOSTILE, REPORTS, hostile


def executed(text):
    """The commands that a runner takes from an output: `::name properties::` at the beginning, `##[name]` anywhere."""
    found, token = [], None
    for line in text.splitlines():
        match = re.match(r"\s*::(?P<name>[\w-]+)(?: (?P<properties>.*?))?::(?P<text>.*)$", line)
        if token is not None:
            token = None if line.strip() == f"::{token}::" else token
        elif match and match["name"] == "stop-commands":
            token = match["text"]
        elif match:
            found.append((match["name"], match["properties"] or "", match["text"]))
        elif "##[" in line:
            found.append(("legacy", "", line))
    return found


def test_each_regression_is_an_error_and_each_improvement_a_notice():
    found = executed("\n".join(commands(REPORTS["regression"])))

    assert [name for name, _, _ in found] == ["error", "notice"]
    assert found[0][1] == "title=bench gate%3A regression"
    assert found[0][2].startswith("REGRESSION at x fgsm (Linf:0.2): 60.0 %25 -> 50.0 %25")


@pytest.mark.parametrize("kind", REPORTS)
def test_there_is_an_error_exactly_if_the_gate_fails(kind):
    names = [name for name, _, _ in executed("\n".join(commands(REPORTS[kind])))]

    assert ("error" in names) == (REPORTS[kind].exit_code != 0)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_a_command(name):
    report = hostile(name)
    lines = commands(report)
    found = executed("\n".join(lines))

    assert len(found) == len(lines)
    assert {each for each, _, _ in found} <= {"error", "warning", "notice"}
    assert all(properties.startswith("title=bench gate") for _, properties, _ in found)
    assert executed(fenced("\n".join([name, *report.lines]))) == []


def test_what_would_be_a_command_is_none_inside_the_fence_and_works_behind_it():
    text = f"{fenced('::error::forged')}\n::error::mine"

    assert executed("::error::forged") == [("error", "", "forged")]
    assert executed(text) == [("error", "", "mine")]
    assert fenced("x") != fenced("x")  # a token that can be foreseen can be written into a label


def test_the_last_annotation_counts_those_that_github_would_drop():
    """It shows ten of a kind per step."""
    rows = tuple(replace(FELL, title=f"at x attack-{index} (Linf:0.2)") for index in range(25))

    errors = [each for each in commands(GateReport(rows, detectable=0.02)) if each.startswith("::error")]

    assert len(errors) == 10
    assert "and 16 more" in errors[-1]
    assert len([each for each in commands(GateReport(rows[:10], detectable=0.02)) if each.startswith("::error")]) == 10


@pytest.mark.parametrize(("value", "said"), [("true", True), ("false", False), (None, False)])
def test_github_is_told_by_its_variable(monkeypatch, value, said):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    if value is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", value)

    assert on_github() is said
