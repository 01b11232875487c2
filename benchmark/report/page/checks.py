"""What the checks say, for the page: every row, the alarming subjects first and open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.checks import by_subject
from bench.results.cell import Result
from bench.results.finding import Finding, Severity, worst

_GRAVITY: tuple[Severity, ...] = ("block", "flag", "info", "pass")


@dataclass(frozen=True)
class Checked:
    """The findings about a defense, or about a defense under one threat model.

    Attributes:
        title: whom they are about.
        verdict: the gravest.
        counts: `2 flagged, 15 passed`.
        findings: all of them, the gravest first.
    """

    title: str
    verdict: Severity
    counts: str
    findings: tuple[Finding, ...]

    @property
    def alarming(self) -> bool:
        return self.verdict in ("flag", "block")


_WORDS = {"block": "blocked", "flag": "flagged", "info": "for information", "pass": "passed"}


def checked(results: Sequence[Result]) -> list[Checked]:
    """Return what was checked, the gravest subjects first."""
    found = [
        Checked(
            title,
            worst(findings),
            ", ".join(
                f"{count} {_WORDS[verdict]}"
                for verdict in _GRAVITY
                if (count := sum(finding.verdict == verdict for finding in findings))
            ),
            tuple(sorted(findings, key=lambda finding: _GRAVITY.index(finding.verdict))),
        )
        for title, findings in by_subject(results).items()
    ]
    return sorted(found, key=lambda each: _GRAVITY.index(each.verdict))
