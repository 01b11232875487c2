"""`bench doctor`: the findings, with the command that mends each problem."""

from __future__ import annotations

from pathlib import Path

_MARKS = {"ok": " ok ", "note": "note", "problem": "PROB"}


def doctor(data: Path | None, quick: bool) -> int:
    """Print what was found; 1 when something is a problem."""
    from bench.doctor import examine

    findings = examine(data, quick=quick)
    for finding in findings:
        print(f"[{_MARKS[finding.state]}] {finding.topic}: {finding.text}")
        if finding.state == "problem" and finding.remedy:
            print(f"       mend it: {finding.remedy}")
    return 1 if any(finding.state == "problem" for finding in findings) else 0
