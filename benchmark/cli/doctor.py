"""The command `bench doctor`, which examines the installation."""

from __future__ import annotations

from pathlib import Path

from bench import api
from bench.report.columns import prose, screen_width

_MARKS = {"ok": " ok ", "note": "note", "problem": "PROB"}


def doctor(data: Path | None, quick: bool) -> int:
    """Print the findings; return 1 if one is a problem."""
    width = screen_width()
    findings = api.doctor(data, quick=quick)
    for finding in findings:
        print(prose(f"[{_MARKS[finding.state]}] {finding.topic}: {finding.text}", width, hang=" " * 7))
        if finding.remedy:
            print(prose(f"       {'mend it' if finding.state == 'problem' else 'try'}: {finding.remedy}", width))
    # Notes, such as a missing extra, are no reason to fail a script.
    return 1 if any(finding.state == "problem" for finding in findings) else 0
