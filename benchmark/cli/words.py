"""Words of a command line that no command could tell from others any more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import typer

from bench.errors import BenchError


def require_named(words: Sequence[str], app: typer.Typer) -> None:
    """Raise a BenchError for a file or folder without a name, as an unset variable of a shell leaves it.

    A path makes `.` of it, the working directory, which would be filled with results.
    """
    if not any(not word or word.endswith("=") for word in words):
        return
    options = {option for command in _commands(app) for option in _paths(command)}
    for word, after in pairwise((*words, "-")):
        option = word.removesuffix("=")
        if option in options and (word.endswith("=") or not after):
            raise BenchError(f"{option} '' is no path: name a file or folder, or leave {option} out")


def _commands(app: typer.Typer) -> Iterator[Callable[..., Any]]:
    """Yield the functions of all commands, those of groups included."""
    yield from (each.callback for each in app.registered_commands if each.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance)


def _paths(command: Callable[..., Any]) -> Iterator[str]:
    """Yield the options of a command that take a path."""
    for name, each in inspect.signature(command, eval_str=True).parameters.items():
        kind, *rest = get_args(each.annotation) or (each.annotation,)
        info = next((one for one in rest if isinstance(one, typer.models.OptionInfo)), None)
        if info is not None and Path in (kind, *get_args(kind)):
            yield from info.param_decls or (f"--{name.replace('_', '-')}",)
