"""Options of the command line: those of a run, from their one declaration, and those that commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.catalogue.options import BY_NAME, default_of, kind_of, names_for, variable

Command = Callable[..., int]

# Filters of stored results; every command that reads a results folder has them.
_FILTER: Mapping[str, str] = {
    "defenses": "Only these: at,atop[rt=2]; atop is each of its variants, atop[] itself alone.",
    "attacks": "Only these: pgd-20,autoattack.",
    "threat": "Only these, a family or one of its sizes: Linf,L2:0.5.",
    "dataset": "Only this dataset.",
}


def of_run(name: str) -> Any:  # noqa: ANN401  (an annotation)
    """Return the annotation of a parameter that is an option of a run."""
    each, kind = BY_NAME[name], kind_of(name)
    default = each.metadata["short"] or each.default
    # These may name code: whether they were typed or come from the environment matters to `settled`, which asks it.
    by_hand = name in ("defenses", "attacks")
    info = typer.Option(
        f"--{name.replace('_', '-')}",
        help=each.metadata["help"] + (f" [env var: {variable(name)}]" if by_hand else ""),
        envvar=(variable(name) or None) if not by_hand else None,
        show_default=str(default) if default not in ("", None) else False,
        autocompletion=completing(name),
        metavar={str: "TEXT", int: "INTEGER"}.get(kind, "PATH"),
    )
    return Annotated[kind | None, info]


def completing(name: str) -> Callable[[str], list[str]]:
    """Return the function that completes an option or argument on the command line; in a list, its last item."""

    def completed(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{each}" for each in names_for(name) if each.startswith(last)]

    return completed


def running(command: Command) -> Command:
    """Replace the `**options` of a command by every option of a run; an option that is not given stays `None`."""
    return _with({name: (of_run(name), None) for name in BY_NAME}, command, lambda given: given)


def shared(command: Command) -> Command:
    """Make options of the parameters that a command shares with a run: as given, else from environment or default.

    In the signature of the command they have a type only: `dataset: str`.
    """
    names = [name for name, each in _own(command).items() if name in BY_NAME and each.default is each.empty]

    def settled(given: dict[str, Any]) -> dict[str, Any]:
        return {name: default_of(name) if value is None and name in names else value for name, value in given.items()}

    return _with({name: (of_run(name), None) for name in names}, command, settled)


def reading(command: Command, require: Callable[..., None] = lambda **_: None) -> Command:
    """Replace the parameter `results` of a command by options for the folder and the part of it to read.

    Args:
        command: takes the results.
        require: called with its own options, and `results` for the folder, before anything is read; raises if one
            makes no sense.
    """

    def read(given: dict[str, Any]) -> dict[str, Any]:
        from bench import api

        chosen = {name: given.pop(name) for name in _FILTER}
        folder = results_folder(given.pop("results"))
        require(**given, results=folder)
        stored = api.load(folder)
        if given.get("baseline") is not None:  # compared with the same part of another folder
            given["baseline"] = api.load(given["baseline"]).only(**chosen)
        return {**given, "results": stored.only(**chosen)}

    return _with({"results": (of_run("results"), None), **_filters()}, command, read)


def results_folder(given: Path | None) -> Path:
    """Return the folder that a command reads: as given, else from environment or default."""
    return Path(str(default_of("results"))) if given is None else given


def choosing(command: Command) -> Command:
    """Replace the `**options` of a command by the filters of stored results; a filter that is not given is empty."""
    return _with(_filters(), command, lambda given: given)


def _filters() -> dict[str, tuple[Any, Any]]:
    return {name: (Annotated[str, typer.Option(f"--{name}", help=text)], "") for name, text in _FILTER.items()}


def _own(command: Command) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(command, eval_str=True).parameters


def _with(
    options: Mapping[str, tuple[Any, Any]], command: Command, made: Callable[[dict[str, Any]], dict[str, Any]]
) -> Command:
    """Return a command with options in place of these parameters; `made` converts given options to its arguments."""
    new = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in options.items()
    }
    own = {
        name: new.pop(name, each.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        for name, each in _own(command).items()
        if each.kind is not each.VAR_KEYWORD
    }
    parameters = [*new.values(), *own.values()] if _takes_more(command) else [*own.values(), *new.values()]

    def called(**given: Any) -> int:  # noqa: ANN401
        return command(**made(given))

    called.__name__, called.__doc__, called.__module__ = command.__name__, command.__doc__, command.__module__
    # Typer reads the options from the signature, and their help from the annotations in it.
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def _takes_more(command: Command) -> bool:
    return any(each.kind is each.VAR_KEYWORD for each in _own(command).values())
