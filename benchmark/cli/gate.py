"""The command `bench gate`: prints the report and writes what CI reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import api
from bench.api.results import Results
from bench.cli.options import results_folder
from bench.errors import BenchError
from bench.report.ci.annotations import commands, fenced, on_github
from bench.report.ci.files import require_badge, write_files
from bench.report.ci.screen import screen
from bench.report.columns import screen_width
from bench.report.floors import parse_floor
from bench.report.gate_report import GateReport, mistaken
from bench.report.outputs import require_files
from bench.report.plain import json_text

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
    if baseline is not None and baseline.resolve() == results.resolve():
        raise BenchError(f"--baseline and --results are both {str(results)!r}, which never drops: name two folders")
    api.require_baseline(baseline)
    _require_names({"badge": badge, **options}, baseline, results)


def _require_names(named: Mapping[str, Any], baseline: Path | None, results: Path) -> None:
    require_badge(named["badge"])
    require_files({f"--{name}": named[name] for name in _FILES}, (baseline, results))


def report_mistake(message: str, baseline: Path | None, results: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Tell everybody who reads the report that there is none, or they would go on reading an older, green one.

    Args:
        message: what is wrong with the request.
        baseline: as of the command.
        results: likewise.
        **options: the other options of the command.
    """
    report = mistaken(message)
    # If what is wrong is the name of a file, nothing is written: it may be the name of somebody else's.
    with suppress(BenchError):
        _require_names(options, baseline, results_folder(results))
        write_files(
            report,
            junit_file=options["junit"],
            markdown_file=options["markdown"],
            summary=_summary(options["summary"]),
            badge=options["badge"],
        )
    _annotate(report, options["annotations"], options["json"])


def _summary(named: Path | None) -> Path | None:
    variable = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(variable) if named is None and variable else named


def _annotate(report: GateReport, asked: bool | None, as_json: bool) -> None:
    # JSON is for a program, which wants nothing else on this stream.
    if (on_github() if asked is None else asked) and not as_json:
        for command in commands(report):
            print(command)


def gate(
    baseline: Results | Path | None,
    results: Results,
    floors: Sequence[str],
    alpha: float,
    min_effect: float,
    must_detect: float,
    allow_underpowered: bool,
    *,
    no_failed: bool = False,
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
        no_failed=no_failed,
    )
    write_files(report, junit_file=junit, markdown_file=markdown, summary=_summary(summary), badge=badge)
    if as_json:
        # The same data, without the signs after which a runner of GitHub Actions reads commands, anywhere in a line.
        text = json_text(report.to_json()).replace("##[", "\\u0023#[")
    else:
        text = screen(report, screen_width(), quiet=quiet)
    if text:
        print(fenced(text) if on_github() and not as_json else text)
    _annotate(report, annotate, as_json)
    status: int = report.exit_code
    return status
