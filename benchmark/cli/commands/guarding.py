"""Commands that hold results against others: gate and compare."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bench.cli.options import completing, reading
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
