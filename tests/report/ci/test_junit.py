"""JUnit XML as its readers take it: parsed back by the standard library and by junitparser."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.report.ci.cases import cases
from bench.report.ci.junit import junit
from tests.report.ci.reports import HOSTILE, REPORTS, hostile

EVERY = {**REPORTS, **{f"hostile {index}": hostile(name) for index, name in enumerate(HOSTILE)}}


@pytest.mark.parametrize("kind", EVERY)
def test_the_counts_are_those_of_the_elements(kind):
    """Jenkins and GitLab count elements, GitHub's reporters read the attributes: both must say the same."""
    root = ET.fromstring(junit(EVERY[kind]))  # noqa: S314  (made here)
    (suite,) = root
    expected = cases(EVERY[kind])

    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    for element in (root, suite):
        counted = {tag: len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error", "skipped")}
        said = tuple(int(element.get(name)) for name in ("tests", "failures", "errors", "skipped"))
        assert said == (len(expected), counted["failure"], counted["error"], counted["skipped"])
        assert float(element.get("time")) == pytest.approx(sum(case.seconds for case in expected), abs=1e-3)
    for element, case in zip(suite.iter("testcase"), expected, strict=True):
        results = [child.tag for child in element if child.tag in ("failure", "error", "skipped")]
        assert results == ([] if case.outcome == "passed" else [case.outcome])
        assert element.get("classname").startswith("bench-gate")
        assert float(element.get("time")) >= 0


def test_the_order_of_elements_is_that_of_the_schema():
    """The Jenkins schema (junit-10.xsd) is a sequence: properties, test cases, system-out."""
    suite = ET.fromstring(junit(REPORTS["regression"]))[0]  # noqa: S314  (made here)
    tags = [child.tag for child in suite]

    assert tags == ["properties", "testcase", "testcase", "testcase", "testcase", "system-out"]
    assert {each.get("name") for each in suite.iter("property")} >= {"alpha", "must_detect", "detectable", "exit_code"}


@pytest.mark.parametrize("kind", EVERY)
def test_another_library_reads_the_same(kind):
    junitparser = pytest.importorskip("junitparser")
    parsed = junitparser.JUnitXml.fromstring(junit(EVERY[kind]))
    (suite,) = parsed
    kinds = {"failure": junitparser.Failure, "error": junitparser.Error, "skipped": junitparser.Skipped}

    assert suite.name == "bench-gate"
    for element, case in zip(suite, cases(EVERY[kind]), strict=True):
        assert element.name == case.name
        assert [type(each) for each in element.result] == ([kinds[case.outcome]] if case.outcome != "passed" else [])
        if case.outcome != "passed":
            assert element.result[0].message == case.message


def test_a_failure_says_which_numbers():
    (case,) = [
        each
        for each in ET.fromstring(junit(REPORTS["regression"])).iter("testcase")  # noqa: S314  (made here)
        if each.find("failure") is not None
    ]

    assert case.find("failure").get("type") == "regression"
    assert "60.0 % -> 50.0 % (drop 10.0 points" in case.find("failure").get("message")
    assert case.find("system-out").text.splitlines()[:3] == ["n: 512", "baseline: 0.6", "candidate: 0.5"]
