"""The commands that read stored verdicts: the table, the curves, the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.api.results import Results
from bench.errors import BenchError
from bench.report.columns import PAGE, prose, screen_width
from bench.report.generalization import render_measures
from bench.report.outputs import require_files, require_folder
from bench.report.paper.latex import points as require_fit
from bench.report.plain import json_text

_FORMATS = ("screen", "grid", "markdown", "latex")


def require_style(style: str) -> None:
    """Raise a BenchError unless there is such a format of tables."""
    if style not in _FORMATS:
        raise BenchError(f"--format {style!r} is unknown: give one of {', '.join(_FORMATS)}")


def require_look(**options: object) -> None:
    """Raise a BenchError unless the options of a table are known and go together."""
    style, of_latex = str(options["format"]), ("rotate", "split", "fit")
    require_style(style)
    given = next((name for name in of_latex if options[name]), None)
    if given and style != "latex":
        raise BenchError(f"--{given} is for papers: add --format latex")
    if options["fit"]:
        require_fit(str(options["fit"]))
    other = next((name for name in ("json", "checks", "cost", "study") if options[name]), None)
    chosen = next((name for name in ("columns", "best", "no_intervals") if options[name]), None)
    printed = next((name for name in ("json", "checks", "study") if options[name]), None)
    if printed and style != "screen":
        raise BenchError(f"--format {style} is for the tables of accuracies and costs: leave out --{printed}")
    if options["checks"] and options["json"]:
        raise BenchError("--checks prints no JSON: leave out --json, which has what is flagged, or --checks")
    several = [name for name in ("checks", "cost", "study") if options[name]]
    if len(several) > 1:
        raise BenchError(f"--{several[0]} and --{several[1]} are two answers: ask for one at a time")
    if other and chosen:
        raise BenchError(f"--{chosen.replace('_', '-')} is for the table of accuracies: leave out --{other}")
    if options["best"] and style not in ("markdown", "latex"):
        raise BenchError("--best needs bold letters: add --format latex or markdown")


def table(results: Results, style: str, *, as_json: bool = False, **look: Any) -> int:  # noqa: ANN401
    """Print one table per set of images; return 3 if a cell is missing or failed."""
    if as_json:
        _print_json(results.to_json())
    else:
        print(results.table(style, width=screen_width(PAGE), **look))
    # So that a script notices a table with holes in it.
    return 3 if results.missing or results.failed else 0


def study(results: Results, *, as_json: bool = False) -> int:
    """Print what a study is for, from stored verdicts; return 3 if a cell is missing or failed."""
    if as_json:
        assert results.study is not None  # noqa: S101  (the caller named it)
        published = [each.to_json() for each in results.published()]
        _print_json({"study": results.study.title, "tables": results.to_json(), "published": published})
    else:
        print(results.summary(width=screen_width(PAGE)))
    return 3 if results.missing or results.failed else 0


def _print_json(told: object) -> None:
    print(json_text(told))


def findings(results: Results) -> int:
    """Print every stored row of every check, flagged or not."""
    print(results.checks(width=screen_width()))
    return 0


def require_curve(**options: Any) -> None:  # noqa: ANN401
    """Raise a BenchError unless the file of the curves can be written."""
    require_files({"--csv": options["csv"]}, [options["results"]])


def require_ranks(**options: Any) -> None:  # noqa: ANN401
    """Raise a BenchError unless the options of a leaderboard go together and what they name can be written."""
    files = [f"--{name}" for name in ("csv", "robustbench") if options[name] is not None]
    for name in ("measures", "json"):
        if files and options[name]:
            raise BenchError(f"--{name} prints and {files[0]} writes the leaderboard instead: ask for one at a time")
    require_files({"--csv": options["csv"]}, [options["results"]])
    require_folder("--robustbench", options["robustbench"], [options["results"]])


def curve(results: Results, points: int, csv: Path | None) -> int:
    """Print robust accuracy against eps; if a file is named, also write it as CSV."""
    found = results.curves(points)
    print(found)
    if csv is not None:
        found.to_csv(csv)
        print(f"\ncurves  {csv}")
    return 0


def leaderboard(results: Results, csv: Path | None, robustbench: Path | None = None, *, as_json: bool = False) -> int:
    """Write the leaderboard as CSV or as entries of RobustBench, or print its ranks."""
    if robustbench is not None:
        exported = results.to_robustbench()
        for path in exported.write(robustbench):
            print(f"robustbench  {path}")
        for note in exported.notes:
            print(prose(f"note: {note}", screen_width()))
    if csv is not None:
        results.to_csv(csv)
        print(f"leaderboard  {csv}")
    if csv is not None or robustbench is not None:
        return 0
    if as_json:
        _print_json(results.ranks())
    else:
        print(results.leaderboard())
    return 0


def measures(results: Results, *, as_json: bool = False) -> int:
    """Print the measures of generalization."""
    if as_json:
        _print_json(results.generalization())
    else:
        print(render_measures(results.cells, screen_width(PAGE)))
    return 0
