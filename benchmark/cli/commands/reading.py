"""Commands that read stored verdicts: table, curve, leaderboard, plot, images, and those about a results folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.help import Commands
from bench.cli.options import completing, reading, shared
from bench.cli.root import AsJson, app

if TYPE_CHECKING:
    from bench.api.results import Results
else:
    Results = object  # read when a command runs


def _sound_look(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.report import require_look

    require_look(**options)


@app.command()
@partial(reading, require=_sound_look)
def table(
    results: Results,
    format: Annotated[  # noqa: A002
        str, typer.Option(autocompletion=completing("format"), help="screen, grid, markdown or latex.")
    ] = "screen",
    checks: Annotated[bool, typer.Option("--checks", help="Print every row of the checks instead.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Print the passes and seconds of every cell instead.")] = False,
    columns: Annotated[str, typer.Option(help="Only these: standard,pgd-20,autoattack@Linf:8/255,worst-all.")] = "",
    no_intervals: Annotated[bool, typer.Option("--no-intervals", help="Accuracies alone.")] = False,
    best: Annotated[bool, typer.Option("--best", help="Bold the best of each column, and what ties with it.")] = False,
    fit: Annotated[str, typer.Option(help="LaTeX no wider than column, page or so many points.")] = "",
    rotate: Annotated[bool, typer.Option("--rotate", help="LaTeX with defenses as columns.")] = False,
    split: Annotated[bool, typer.Option("--split", help="LaTeX in several tabulars, not in smaller letters.")] = False,
    study: Annotated[
        str,
        typer.Option(
            autocompletion=completing("study"), help="Print what this study is for, published values beside ours."
        ),
    ] = "",
    json: AsJson = False,
) -> int:
    """Print the table of stored verdicts, all that the checks say of them, or what they cost."""
    from bench.cli import report

    if checks:
        return report.findings(results)
    if study:
        return report.study(results.under(study), as_json=json)
    look = {"columns": columns, "intervals": not no_intervals, "best": best}
    paper = {"fit": fit or "page", "rotate": rotate, "split": split}
    return report.table(results, format, as_json=json, cost=cost, **look, **paper)


def _sound_curve(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.report import require_curve

    require_curve(**options)


@app.command()
@partial(reading, require=_sound_curve)
def curve(
    results: Results,
    points: Annotated[int, typer.Option(help="Sizes of eps a minimum-norm attack's distances are read at.")] = 8,
    csv: Annotated[Path | None, typer.Option(help="Also write every point with its interval to a CSV file.")] = None,
) -> int:
    """Print robust accuracy against eps, of minimum-norm attacks and of sweeps."""
    from bench.cli import report

    return report.curve(results, points, csv)


def _sound_ranks(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.report import require_ranks

    require_ranks(**options)


@app.command()
@partial(reading, require=_sound_ranks)
def leaderboard(
    results: Results,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file instead of printing.")] = None,
    measures: Annotated[
        bool, typer.Option("--measures", help="Print generalization beyond the training instead: unseen, UAR, CR.")
    ] = False,
    robustbench: Annotated[
        Path | None, typer.Option(help="Write RobustBench's JSON files into a folder instead of printing.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Rank the stored defenses by their worst case, ties shown as ties."""
    from bench.cli import report

    if measures:
        return report.measures(results, as_json=json)
    return report.leaderboard(results, csv, robustbench, as_json=json)


def _sound_page(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.page import require_page

    require_page(**options)


@app.command()
@partial(reading, require=_sound_page)
def report(
    results: Results,
    html: Annotated[Path, typer.Option(help="The file to write: one page that loads nothing from anywhere.")],
    study: Annotated[
        str, typer.Option(autocompletion=completing("study"), help="Read them as this study, or as your FILE.toml.")
    ] = "",
) -> int:
    """Write one HTML page of everything that is stored: matrix, ranks, figures, images, checks, provenance."""
    from bench.cli import page

    return page.report(results, html, study)


def _known_figure(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.plot import require_figure

    require_figure(**options)


@app.command()
@partial(reading, require=_known_figure)
def plot(
    kind: Annotated[
        str, typer.Argument(autocompletion=completing("figure"), help="matrix, forest, curves, ladder or cost.")
    ],
    results: Results,
    out: Annotated[Path, typer.Option(help="The file: .pdf or .pgf for LaTeX, .svg or .png.")],
    width: Annotated[
        str, typer.Option(autocompletion=completing("width"), help="column, page or points, such as 240.")
    ] = "page",
    judge: Annotated[str, typer.Option(help="Of a matrix or forest: mean, worst, majority or resubmission.")] = "",
    study: Annotated[str, typer.Option(autocompletion=completing("study"), help="Of a ladder: whose rungs.")] = "",
) -> int:
    """Draw stored verdicts as a figure for a paper."""
    from bench.cli.plot import plot as body

    return body(results, kind, out, width, judge, study)


def _sound_images(**options: Any) -> None:  # noqa: ANN401  (those of the command)
    from bench.cli.plot import require_images

    require_images(**options)


@app.command()
@partial(reading, require=_sound_images)
def images(
    defense: Annotated[str, typer.Argument(help="Its label, as in the table.")],
    attack: Annotated[str, typer.Argument(help="Its label.")],
    results: Results,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
) -> int:
    """Write the stored images of one cell, clean and adversarial: a picture (PNG) and arrays (NPZ)."""
    from bench.cli.plot import images as body

    return body(results, defense, attack, out)


folder = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode=None, help="List, verify, prune or merge results folders."
)
app.add_typer(folder, name="results")


@folder.command("list")
@shared
def results_list(
    results: Path,
    json: AsJson = False,
) -> int:
    """List the runs that filled a folder: when, what, and by which code."""
    from bench.cli.results import list_

    return list_(results, json)


@folder.command("verify")
@shared
def results_verify(results: Path) -> int:
    """Read every document of a folder; 1 when one is not as it was written."""
    from bench.cli.results import verify

    return verify(results)


@folder.command("prune")
@shared
def results_prune(
    results: Path,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> int:
    """Remove documents that no run asked for, and temporary files and locks of runs that died."""
    from bench.cli.results import prune

    return prune(results, dry_run)


@folder.command("merge")
def results_merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Results folders, such as one per machine.")],
    *,
    into: Annotated[Path, typer.Option(help="Where everything goes: a new folder, or one that is there.")],
) -> int:
    """Merge results folders: verify every file, copy what is missing, finish cells whose shards are all there."""
    from bench.cli.results import merge

    return merge(folders, into)
