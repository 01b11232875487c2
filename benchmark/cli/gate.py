"""The command `bench gate`: prints the report and writes what CI reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import api
from bench.api.results import Results
from bench.errors import BenchError
from bench.report.ci.annotations import commands, fenced, on_github
from bench.report.ci.files import require_badge, write_files
from bench.report.ci.screen import screen
from bench.report.columns import screen_width
from bench.report.floors import parse_floor
from bench.report.outputs import require_files

_FILES = ("junit", "markdown", "summary", "badge")


def require_sound(
    *,
    floor: Sequence[str] | None,
    badge: Path | None,
    baseline: Path | None,
    results: Path,
    **options: Any,  # noqa: ANN401
) -> None:
    """Raise a BenchError for a mistake in the options before a folder is read."""
    require_badge(badge)
    api.require_promises(**{name: options[name] for name in ("alpha", "min_effect", "must_detect")})
    if options["json"] and options["annotations"]:
        raise BenchError("--annotations would stand within the JSON: leave out --json or --annotations")
    for text in floor or ():
        parse_floor(text)
    if baseline is None and not floor:
        raise BenchError("nothing to hold the results to: give --baseline FOLDER or --floor DEFENSE/ATTACK=SHARE")
    api.require_baseline(baseline)
    if baseline is not None and baseline.resolve() == results.resolve():
        raise BenchError(f"--baseline and --results are both {str(results)!r}, which never drops: name two folders")
    files = {f"--{name}": badge if name == "badge" else options[name] for name in _FILES}
    require_files(files, (baseline, results))


def gate(
    baseline: Results | Path | None,
    results: Results,
    floors: Sequence[str],
    alpha: float,
    min_effect: float,
    must_detect: float,
    allow_underpowered: bool,
    *,
    quiet: bool = False,
    as_json: bool = False,
    annotate: bool | None = None,
    junit: Path | None = None,
    markdown: Path | None = None,
    summary: Path | None = None,
    badge: Path | None = None,
) -> int:
    """Compare with a baseline, tell everybody who reads it, and return the gate's exit status."""
    report = api.gate(
        baseline,
        results,
        floors=floors,
        alpha=alpha,
        min_effect=min_effect,
        must_detect=must_detect,
        allow_underpowered=allow_underpowered,
    )
    if summary is None and os.environ.get("GITHUB_STEP_SUMMARY"):
        summary = Path(os.environ["GITHUB_STEP_SUMMARY"])
    write_files(report, junit_file=junit, markdown_file=markdown, summary=summary, badge=badge)
    github = on_github()
    if as_json:
        # The same data, without the signs after which a runner of GitHub Actions reads commands, anywhere in a line.
        text = json.dumps(report.to_json(), indent=1, ensure_ascii=False).replace("##[", "\\u0023#[")
    else:
        text = screen(report, screen_width(), quiet=quiet)
    if text:
        print(fenced(text) if github and not as_json else text)
    # JSON is for a program, which wants nothing else on this stream.
    if (github if annotate is None else annotate) and not as_json:
        for command in commands(report):
            print(command)
    status: int = report.exit_code
    return status
