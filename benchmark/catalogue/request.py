"""Lists of names on the command line, with parameters in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bench.errors import BenchError

# The value of a parameter may have brackets of its own: atop[classifier=timm:resnet18[norm=cifar10]].
_NAME = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<parameters>(?:[^\[\]]|\[[^\[\]]*\])*)\])?")
# Names that are safe in labels and paths as they are.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# A comma outside brackets: no closing bracket follows it without its opening one.
_COMMA = re.compile(r",(?![^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\])")


class Labelled(Protocol):
    """Anything that has a label in tables."""

    @property
    def label(self) -> str: ...


Item = TypeVar("Item", bound=Labelled)


@dataclass(frozen=True)
class Request:
    """One item of a list such as `at,atop[rt=2],./mine.py:build`."""

    name: str
    parameters: Mapping[str, str]

    @property
    def is_file(self) -> bool:
        return self.name.partition(":")[0].endswith(".py")

    @property
    def is_composition(self) -> bool:
        """Return whether it is a file that composes an attack of others: `./found.toml`."""
        return self.name.endswith(".toml")

    @property
    def is_peer(self) -> bool:
        """Return whether it is of another library: an attack `foolbox:LinfPGD`, a defense `timm:resnet18`."""
        return ":" in self.name and not self.is_file and not self.is_composition

    @property
    def label(self) -> str:
        inside = ",".join(f"{key}={value}" for key, value in sorted(self.parameters.items()))
        return f"{self.name}[{inside}]" if inside else self.name

    @property
    def path(self) -> Path:
        """Return the file of `./mine.py:build`."""
        return Path(self.name.partition(":")[0])

    @property
    def short_label(self) -> str:
        """Return the label of what a file builds, as in tables: without its folder, and without `build`."""
        function = self.name.partition(":")[2]
        name = self.path.stem + (f":{function}" if function not in ("", "build") else "")
        return Request(name, self.parameters).label


@dataclass(frozen=True)
class InMemory:
    """A defense or an attack that is passed as an object instead of by name.

    Attributes:
        label: as in tables.
        what: the defense, module or attack itself (`bench.catalogue.in_memory`).
    """

    label: str
    what: Any = field(compare=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.label):
            raise BenchError(f"name {self.label!r}: give letters, digits, dots, dashes and underscores")


def parse_list(text: str, kind: str) -> list[Request]:
    """Split a list at its commas, outside brackets.

    Args:
        text: `at,atop[rt=2],./mine.py:build`.
        kind: what the items are, for errors.

    Raises:
        BenchError: an item is no name, or is named twice.
    """
    requests: list[Request] = []
    for item in (item.strip() for item in _COMMA.split(text)):
        match = _NAME.fullmatch(item)
        if match is None:
            raise BenchError(f"{kind} {item!r} is not a name: write NAME, NAME[key=value] or ./file.py:function")
        requests.append(Request(match["name"].strip(), _parameters(match["parameters"] or "", item)))
    require_apart(requests, kind)
    return requests


def parse_one(text: str, kind: str) -> Request:
    """Parse a text that names one item.

    Raises:
        BenchError: it is no name, or there are several.
    """
    first, *others = parse_list(text, kind)
    if others:
        raise BenchError(f"{kind} {text!r} names {1 + len(others)}: give one")
    return first


def expanded(requests: Iterable[Item], kind: str, groups: Mapping[str, Iterable[str]]) -> list[Item | Request]:
    """Return the requests with each group replaced by its members.

    Raises:
        BenchError: a name is also a member of a group named before.
    """
    found: list[Item | Request] = []
    for request in requests:
        if request.label in groups:
            held = {each.label for each in found}
            # Two groups may share members: lp,score names Square once.
            found += [Request(name, {}) for name in groups[request.label] if name not in held]
        else:
            found.append(request)
    require_apart(found, kind)
    return found


def require_apart(requests: Iterable[Labelled], kind: str) -> None:
    """Raise a BenchError if two labels are the same, but for their case: they name rows, columns and files."""
    known: dict[str, str] = {}
    for request in requests:
        label = request.label
        before = known.get(label.casefold())
        if before == label:
            raise BenchError(f"{kind} {label!r} is named twice: name it once")
        if before is not None:  # one file on some file systems
            raise BenchError(f"{kind}s {before!r} and {label!r} differ in case alone: name them apart")
        known[label.casefold()] = label


def _parameters(text: str, item: str) -> dict[str, str]:
    parameters = {}
    for pair in filter(None, _COMMA.split(text)):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise BenchError(f"parameter {pair!r} of {item!r} is not key=value: write for example pgd-20[steps=50]")
        if key.strip() in parameters:
            raise BenchError(f"parameter {key.strip()!r} of {item!r} is given twice: give it once")
        # Text until the attack or the defense says which type it needs.
        parameters[key.strip()] = value.strip()
    return parameters


def convert(text: str, kind: type, where: str) -> Any:  # noqa: ANN401  (the type is the argument)
    """Convert `text` to a bool, int, float or str.

    Raises:
        BenchError: it is not of that type; the message begins with `where`.
    """
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise BenchError(f"{where}: write true or false")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise BenchError(f"{where}: {text!r} is not {'a whole number' if kind is int else 'a number'}") from None
    return text
