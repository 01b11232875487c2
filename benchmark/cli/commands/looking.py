"""Commands that say what there is: list, show, example and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import completing, shared
from bench.cli.root import AsJson, app


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(autocompletion=completing("kind"), help="attacks, defenses, datasets, studies or all.")
    ] = "all",
    json: AsJson = False,
) -> int:
    """List the registered defenses, attacks and datasets."""
    from bench.cli.show import list_

    return list_(kind, json)


@app.command()
@shared
def show(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=completing("show"), help="A defense, an attack or its file, or the file of a finished cell."
        ),
    ],
    dataset: str,
) -> int:
    """Show what a defense or an attack is, or who spent the passes of a cell."""
    from bench.cli.show import show

    return show(name, dataset)


@app.command("example")
def example_(
    kind: Annotated[str, typer.Argument(help="attack or defense.")],
) -> int:
    """Print a complete file to begin with: bench example attack > mine.py."""
    from bench.cli.show import example

    return example(kind)


@app.command()
@shared
def doctor(
    data: Path | None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what has to import torchvision.")] = False,
) -> int:
    """Say what is installed, what is found and what is repaired, with the command that mends the rest."""
    from bench.cli.doctor import doctor

    return doctor(data, quick)
