"""The command `bench check`, which examines one defense before any attack."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import api
from bench.report.columns import prose, screen_width
from bench.report.plain import json_text

if TYPE_CHECKING:
    from bench.results.finding import Finding


def check(name: str, as_json: bool, explain: bool, **options: Any) -> int:  # noqa: ANN401  (those of `api.check`)
    """Print a line per finding, with an explanation if wanted, or all rows as JSON; return 1 if one flags or blocks."""
    found = api.check(name, **options)
    if found.note is not None:
        print(f"note: {found.note}", file=sys.stderr)
    if as_json:
        print(_as_json(name, options["dataset"], found.findings))
    elif explain:
        given = _given(options["data"], options["weights"])
        run = shlex.join(["bench", "run", "--defenses", name, "--dataset", options["dataset"], *given])
        print(prose(_as_text(found.findings, lambda finding: found.explained(finding, run)), screen_width()))
    else:
        print(prose(_as_text(found.findings), screen_width()))
    return 1 if found.alarming else 0


def _given(data: Path | None, weights: Path | None) -> list[str]:
    """Return the options that a command needs to find the same, but for what the environment says anyway."""
    options = {"data": data, "weights": weights}
    known = {name: os.environ.get(f"BENCH_{name.upper()}") for name in options}
    return [
        word
        for name, path in options.items()
        if path is not None and str(path) != known[name]
        for word in (f"--{name}", str(path))
    ]


def _as_json(name: str, dataset: str, findings: Sequence[Finding]) -> str:
    rows = [finding.to_json() for finding in findings]
    return json_text({"defense": name, "dataset": dataset, "findings": rows})


def _as_text(findings: Sequence[Finding], told: Callable[[Finding], Sequence[str]] = lambda _: ()) -> str:
    lines = []
    for finding in findings:
        if not finding.passed and not finding.idle:
            lines += [f"{finding.message}  [{finding.verdict}]", *told(finding)]
    for what, ids in (
        ("passed", [finding.id for finding in findings if finding.passed]),
        ("not checked", [finding.id for finding in findings if finding.idle]),
    ):
        # Harmless findings by id alone, so that the others are not lost among them.
        lines += [f"{what}: {' '.join(ids)}"] if ids else []
    return "\n".join(lines)
