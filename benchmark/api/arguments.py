"""Arguments of the Python interface, held against their annotations: a wrong type is a mistake in the request.

A type checker would say the same, but notebooks have none. Text where a path is declared becomes a path.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import BenchError, brief, unknown

Function = TypeVar("Function", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)

_PATHS = {"Path", "Folder", "os.PathLike[str]"}


def checked(function: Function) -> Function:
    """Return a function that raises a BenchError for an argument that its signature does not allow."""
    signature = inspect.signature(function)
    several = any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())

    @functools.wraps(function)
    def called(*given: Any, **named: Any) -> Any:  # noqa: ANN401
        for name in named:
            if name not in signature.parameters and not several:
                raise unknown(f"argument of {function.__name__}", name, signature.parameters)
        try:
            bound = signature.bind(*given, **named)
        except TypeError as error:
            raise BenchError(f"{function.__name__}: {error}: see help(bench) or docs/api.md") from None
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if isinstance(parameter.annotation, str) and name != "self":
                if parameter.kind is parameter.VAR_POSITIONAL:
                    bound.arguments[name] = tuple(_settled(parameter.annotation, each, name) for each in value)
                elif parameter.kind is parameter.VAR_KEYWORD:
                    bound.arguments[name] = {
                        key: _settled(parameter.annotation, each, key) for key, each in value.items()
                    }
                else:
                    bound.arguments[name] = _settled(parameter.annotation, value, name)
        return function(*bound.args, **bound.kwargs)

    return called  # type: ignore[return-value]


def members_checked(kind: Class) -> Class:
    """Check the arguments of every public method that a class defines itself."""
    for name, member in list(vars(kind).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(kind, name, checked(member))
    return kind


def _settled(annotation: str, value: Any, name: str) -> Any:  # noqa: ANN401  (as it is annotated)
    """Return a value, as a path where one is declared; raise a BenchError if the annotation does not allow it."""
    kinds = _kinds(annotation)
    unread = [kind for kind in kinds if kind not in _ALLOWS and kind not in _PATHS]
    if set(kinds) & _PATHS and isinstance(value, str | os.PathLike):
        _require_path(value, name)
        return Path(value) if "Path" in kinds else value
    if unread or any(_ALLOWS[kind](value) for kind in kinds if kind in _ALLOWS):
        return value
    wanted = " or ".join(dict.fromkeys(_SPELLED.get(kind, "a path" if kind in _PATHS else kind) for kind in kinds))
    raise BenchError(f"{name}={brief(value)} is {type(value).__name__}: give {wanted}")


def _require_path(value: str | os.PathLike[str], name: str) -> None:
    text: object = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise BenchError(f"{name}={brief(value)} is no path: name a file or folder")


def _kinds(annotation: str) -> list[str]:
    """Return the parts of a union; a comma or a bar in brackets belongs to a part."""
    parts, depth = [""], 0
    for sign in annotation:
        depth += (sign in "[(") - (sign in "])")
        if sign == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    found = [part.strip() for part in parts]
    return ["Callable" if part.startswith("Callable[") else part for part in found]


def _is_whole(value: object) -> bool:
    # bool is an int in Python: n=True would run one image. Whole numbers of numpy are whole numbers.
    if isinstance(value, bool):
        return False
    with suppress(TypeError):
        operator.index(value)  # type: ignore[arg-type]
        return True
    return False


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _are_texts(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(each, str) for each in value)


def _has(*names: str) -> Callable[[object], bool]:
    return lambda value: all(callable(getattr(value, name, None)) for name in names)


def _is_results(value: object) -> bool:
    return any(each.__name__ == "Results" for each in type(value).__mro__)


_ALLOWS: Mapping[str, Callable[[Any], bool]] = {
    "None": lambda value: value is None,
    "str": lambda value: isinstance(value, str),
    "int": _is_whole,
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "Which": lambda value: isinstance(value, str),
    "Names": lambda value: isinstance(value, str) or _are_texts(value),
    "Width": lambda value: isinstance(value, str) or _is_number(value),
    "Sequence[str]": _are_texts,
    "Mapping[str, str]": lambda value: isinstance(value, Mapping) and all(isinstance(each, str) for each in value),
    "Watcher": _has("step", "say"),
    "Callable": callable,
    "Results": _is_results,
}
_SPELLED: Mapping[str, str] = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "Which": "text",
    "Names": "text or a list of names",
    "Width": "text or a number",
    "Sequence[str]": "a list of text",
    "Mapping[str, str]": "values by name",
    "Watcher": "a watcher, with step() and say()",
    "Callable": "a function",
    "Results": "results",
}
