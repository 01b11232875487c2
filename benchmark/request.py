"""What is asked for in a list on the command line: names, with parameters in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError

# What a parameter is set to may have brackets of its own.
_NAME = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<parameters>(?:[^\[\]]|\[[^\[\]]*\])*)\])?")
_COMMA = re.compile(r",(?![^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\])")


@dataclass(frozen=True)
class Request:
    """One item of a list such as `at,atop[rt=2],./mine.py:build`."""

    name: str
    parameters: Mapping[str, str]

    @property
    def is_file(self) -> bool:
        return self.name.partition(":")[0].endswith(".py")

    @property
    def is_peer(self) -> bool:
        """Whether it is of another library: an attack `foolbox:LinfPGD`, a defense `timm:resnet18`."""
        return ":" in self.name and not self.is_file

    @property
    def label(self) -> str:
        inside = ",".join(f"{key}={value}" for key, value in sorted(self.parameters.items()))
        return f"{self.name}[{inside}]" if inside else self.name


def parse_list(text: str, kind: str, groups: Mapping[str, Iterable[str]]) -> list[Request]:
    """Split a list at its commas, outside brackets; the name of a group stands for its members."""
    items = [item.strip() for item in _COMMA.split(text)]
    requests: list[Request] = []
    for item in items:
        if item in groups:
            held = {request.label for request in requests}
            # Two groups may share members: lp,score names Square once.
            requests += [Request(name, {}) for name in groups[item] if name not in held]
            continue
        match = _NAME.fullmatch(item)
        if match is None:
            raise BenchError(f"{kind} {item!r} is not a name: write NAME, NAME[key=value] or ./file.py:function")
        requests.append(Request(match["name"].strip(), _parameters(match["parameters"] or "", item)))
    labels = [request.label for request in requests]
    for label in labels:
        if labels.count(label) > 1:
            raise BenchError(f"{kind} {label!r} is named twice: name it once")
    return requests


def _parameters(text: str, item: str) -> dict[str, str]:
    parameters = {}
    for pair in filter(None, _COMMA.split(text)):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise BenchError(f"parameter {pair!r} of {item!r} is not key=value: write for example pgd-20[steps=50]")
        parameters[key.strip()] = value.strip()
    return parameters


def convert(text: str, kind: type, where: str) -> Any:  # noqa: ANN401  (the type is the argument)
    """`text` as a bool, int, float or str.

    Raises:
        BenchError: it is none, with `where` in front.
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
