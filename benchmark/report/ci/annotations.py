"""Workflow commands of GitHub Actions: annotations on a run, and a fence around text that may look like a command.

The runner reads commands from the output of a step: `::error title=...::...` at the beginning of a line, and
`##[error]...` anywhere in it. A label that holds either must not reach it as a command.
"""

from __future__ import annotations

import os

from bench.report.ci.cases import cases
from bench.report.ci.escaping import for_command, for_property
from bench.report.gate_report import GateReport

# GitHub shows so many of each kind per step, and drops the rest without a word.
_SHOWN = 10


def on_github() -> bool:
    """Return whether this process runs in a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def commands(report: GateReport) -> list[str]:
    """Return a report as workflow commands: an error per case that does not pass, a notice per improvement."""
    failed = [case for case in cases(report) if case.outcome in ("failure", "error")]
    errors = [("bench gate: " + case.kind, _sentence(case.name, case.message)) for case in failed]
    warnings = [("bench gate", note) for note in report.notes]
    if report.underpowered and report.allow_underpowered and report.gated:
        warnings.append(("bench gate: underpowered", report.conclusion))
    notices = [("bench gate: improvement", row.line) for row in report.improvements]
    kinds = {"error": errors, "warning": warnings, "notice": notices}
    return [
        f"::{kind} title={for_property(title)}::{for_command(text)}"
        for kind in kinds
        for title, text in _cut(kinds[kind])
    ]


def fenced(text: str, token: str = "") -> str:
    """Return a text between two commands that keep the runner from reading commands in it.

    Args:
        text: to print.
        token: ends the fence, so nobody who writes a label may know it; a new one by default.
    """
    token = token or f"bench-{os.urandom(16).hex()}"
    return f"::stop-commands::{token}\n{text}\n::{token}::"


def _sentence(name: str, message: str) -> str:
    return message if name in message else f"{name}: {message}"


def _cut(told: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if len(told) <= _SHOWN:
        return told
    return [*told[: _SHOWN - 1], ("bench gate", f"and {len(told) - _SHOWN + 1} more: see the log or the step summary")]
