"""Commands that hold results against others: gate, compare and history."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bench.cli.options import choosing, completing, reading
from bench.cli.root import AsJson, app

if TYPE_CHECKING:
    from bench.api.results import Results
else:
    Results = object  # read when a command runs


def _sound_promises(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.api import require_promises

    require_promises(**options)


@app.command()
@partial(reading, require=_sound_promises)
def gate(
    baseline: Annotated[Path, typer.Option(help="Results folder to compare with.")],
    results: Results,
    alpha: Annotated[float, typer.Option(help="False-alarm rate of the whole gate.")] = 0.01,
    min_effect: Annotated[
        float, typer.Option(help="Smallest drop that can fail, as a share: 0.01 is one point.")
    ] = 0.01,
    must_detect: Annotated[float, typer.Option(help="Drop that must be caught with 80 % power.")] = 0.15,
    allow_underpowered: Annotated[bool, typer.Option("--allow-underpowered", help="Exit 0 instead of 4.")] = False,
    json: AsJson = False,
) -> int:
    """Fail when robust accuracy has really dropped: paired, exact, corrected for the number of cells."""
    from bench.cli import report

    promises = (alpha, min_effect, must_detect, allow_underpowered)
    return report.gate(baseline, results, *promises, as_json=json)


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
