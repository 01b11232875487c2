"""Commands that hold results against others: gate, baseline, compare, compare-attacks and history."""

from __future__ import annotations

from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bench.cli.help import Commands
from bench.cli.options import Command, choosing, completing, reading, shared
from bench.cli.root import AsJson, app
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.api.results import Results
else:
    Results = object  # read when a command runs


def _sound(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.gate import require_sound

    require_sound(**options)


def _reporting(command: Command) -> Command:
    """Return the command so that a mistake is in the report, too, wherever it is found."""

    @wraps(command)
    def called(**given: Any) -> int:  # noqa: ANN401  (those of the command)
        try:
            return command(**given)
        except BenchError as error:
            from bench.cli.gate import report_mistake

            report_mistake(str(error), **given)
            raise

    return called


@app.command()
@_reporting
@partial(reading, require=_sound)
def gate(
    baseline: Annotated[
        Path | None, typer.Option(help="Results folder to compare with; only floors may do without.")
    ] = None,
    *,
    results: Results,
    floor: Annotated[
        list[str] | None,
        typer.Option(
            help="Least accuracy, as a share: at/pgd-20=0.40, at/pgd-20@Linf:0.2=0.40, at/standard=0.9, "
            "at/worst-all=0.35; repeatable."
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="False-alarm rate of the whole gate.")] = 0.01,
    min_effect: Annotated[
        float, typer.Option(help="Smallest drop that can fail, as a share: 0.01 is one point.")
    ] = 0.01,
    must_detect: Annotated[float, typer.Option(help="Drop that must be caught with 80 % power.")] = 0.15,
    allow_underpowered: Annotated[bool, typer.Option("--allow-underpowered", help="Exit 0 instead of 4.")] = False,
    no_failed: Annotated[
        bool, typer.Option("--no-failed", help="Also fail, with 3, if any cell of the results failed or is missing.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML: a test case per cell.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown for a comment on a pull request.")] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Add the Markdown to this file; else to $GITHUB_STEP_SUMMARY.")
    ] = None,
    badge: Annotated[Path | None, typer.Option(help="Write a badge: .svg, or .json for shields.io.")] = None,
    annotations: Annotated[
        bool | None,
        typer.Option("--annotations/--no-annotations", help="Annotate the run; by default on GitHub Actions."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong.")] = False,
    json: AsJson = False,
) -> int:
    """Fail when robust accuracy has really dropped: paired, exact, corrected for the number of cells."""
    from bench.cli.gate import gate

    promises = (alpha, min_effect, must_detect, allow_underpowered)
    return gate(
        baseline,
        results,
        floor or (),
        *promises,
        no_failed=no_failed,
        quiet=quiet,
        as_json=json,
        annotate=annotations,
        junit=junit,
        markdown=markdown,
        summary=summary,
        badge=badge,
    )


def _sound_pair(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.compare import require_pair

    require_pair(**options)


@app.command()
@partial(reading, require=_sound_pair)
def compare(
    a: Annotated[str, typer.Argument(help="The label of a defense, as in the table.")],
    b: Annotated[str, typer.Argument(help="Of another one; not needed with --with.")] = "",
    *,
    results: Results,
    baseline: Annotated[Path | None, typer.Option("--with", help="Results folder that the second one is in.")] = None,
    format: Annotated[  # noqa: A002
        str, typer.Option(autocompletion=completing("format"), help="screen, grid, markdown or latex.")
    ] = "screen",
    json: AsJson = False,
) -> int:
    """Compare two defenses image by image: differences with intervals, exact tests, and what they resolve."""
    from bench.cli.compare import compare

    # `reading` has made results of the folder.
    return compare(results, a, b, cast("Results | None", baseline), format, as_json=json)


def _sound_style(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.report import require_style

    require_style(str(options["format"]))


@app.command("compare-attacks")
@partial(reading, require=_sound_style)
def compare_attacks(
    results: Results,
    format: Annotated[  # noqa: A002
        str, typer.Option(autocompletion=completing("format"), help="screen, grid, markdown or latex.")
    ] = "screen",
    json: AsJson = False,
) -> int:
    """Compare attacks: how near each comes to the best of all, image by image, what it alone finds, and its passes."""
    from bench.cli.compare import attacks

    return attacks(results, format, as_json=json)


@app.command()
@choosing
def history(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER",
            help="Results folders, the oldest first; of a single one, or the default one, its runs.",
        ),
    ] = None,
    *,
    git: Annotated[
        Path | None, typer.Option(help="A results folder under git instead: its state at each commit that touched it.")
    ] = None,
    last: Annotated[int, typer.Option(help="Only the last so many commits or runs.")] = 20,
    by_time: Annotated[bool, typer.Option("--by-time", help="Folders in the order of their latest runs.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write every point to a CSV file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw a figure: .pdf, .pgf, .svg or .png.")] = None,
    json: AsJson = False,
    **chosen: str,
) -> int:
    """Show how accuracies moved over folders, runs or commits: intervals, breaks, paired tests."""
    from bench.cli.history import history as body

    return body(folders or [], git, last, by_time, csv, plot, as_json=json, **chosen)


folder = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode=None, help="Show a baseline, or replace it by new results."
)
app.add_typer(folder, name="baseline")
_Baseline = Annotated[Path, typer.Option(help="Folder of the baseline.")]


@folder.command("update")
@shared
def baseline_update(
    baseline: _Baseline,
    results: Path,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="Even if new cells are failed, missing or blocked.")
    ] = False,
    allow_removed: Annotated[
        bool, typer.Option("--allow-removed", help="Even if cells of the baseline are not among the new ones.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Make results the baseline, in one step, and show what changes: numbers, images, digests and versions."""
    from bench.cli.baseline import update

    return update(baseline, results, dry_run, allow_incomplete, allow_removed, json)


@folder.command("show")
def baseline_show(baseline: _Baseline) -> int:
    """Show what a baseline holds, what made it, and how small a drop it can show."""
    from bench.cli.baseline import show

    return show(baseline)
