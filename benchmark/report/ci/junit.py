"""JUnit XML, which GitHub's test reporters, GitLab (`artifacts:reports:junit`) and Jenkins show beside a build.

There is no standard; the schema here is the part that all of these read (the Jenkins xunit plug-in's junit-10.xsd): a
`testsuites` with one `testsuite`, whose `testcase`s hold at most one `failure`, `error` or `skipped`.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bench.report.ci.cases import Case, cases
from bench.report.ci.escaping import for_xml
from bench.report.gate_report import GateReport

SUITE = "bench-gate"


def junit(report: GateReport) -> str:
    """Return a report as JUnit XML: a test case per cell and floor, a failure for what got worse.

    Cells that are absent or not comparable are errors. `time` is what measuring a cell took, in seconds.
    """
    found = cases(report)
    counts = {
        "tests": str(len(found)),
        "failures": str(sum(case.outcome == "failure" for case in found)),
        "errors": str(sum(case.outcome == "error" for case in found)),
        "skipped": str(sum(case.outcome == "skipped" for case in found)),
        "time": _seconds(sum(case.seconds for case in found)),
    }
    root = ET.Element("testsuites", {"name": SUITE, **counts})
    suite = ET.SubElement(root, "testsuite", {"name": SUITE, **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ET.SubElement(properties, "property", {"name": name, "value": for_xml(value)})
    for case in found:
        _add(suite, case)
    ET.SubElement(suite, "system-out").text = "\n".join(map(for_xml, report.lines))
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _properties(report: GateReport) -> dict[str, str]:
    if report.mistake:  # the promises may be what is wrong
        return {"exit_code": str(report.exit_code), "conclusion": report.conclusion}
    return {
        "alpha": str(report.alpha),
        "min_effect": str(report.min_effect),
        "must_detect": str(report.must_detect),
        "detectable": f"{report.detectable:.6g}",
        "exit_code": str(report.exit_code),
        "conclusion": report.conclusion,
    }


def _add(suite: ET.Element, case: Case) -> None:
    group = f"{SUITE}.{case.group}" if case.group else SUITE
    names = {"classname": for_xml(group), "name": for_xml(case.name), "time": _seconds(case.seconds)}
    element = ET.SubElement(suite, "testcase", names)
    message = for_xml(case.message)
    if case.outcome == "skipped":
        ET.SubElement(element, "skipped", {"message": message})
    elif case.outcome != "passed":
        ET.SubElement(element, case.outcome, {"type": case.kind, "message": message}).text = message
    if case.numbers:
        ET.SubElement(element, "system-out").text = "\n".join(map(for_xml, case.numbers.splitlines()))


def _seconds(value: float) -> str:
    return f"{value:.3f}"
