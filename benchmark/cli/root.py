"""The command `bench` itself, which the modules of `commands` add theirs to."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import __version__
from bench.cli.help import SETTINGS, Commands

app = typer.Typer(
    cls=Commands,
    help="Robust accuracy of adversarial training, purification and AToP, measured honestly.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"atop-bench {__version__}")
        raise typer.Exit
