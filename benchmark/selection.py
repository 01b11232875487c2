"""From names on the command line to defenses and attacks the matrix can plan with.

Nothing here imports torch, except where the user asks for more than a registered name: a file of
their own, or a parameter of an attack, whose type only the attack knows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import fingerprint
from bench.catalogue import ATTACKS, DEFENSES
from bench.cell import AttackRef, DefenseRef
from bench.checkpoints import card, locate
from bench.errors import BenchError, unknown
from bench.registry import AttackEntry, DefenseEntry, load
from bench.types import ThreatModel

_NAME = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<parameters>[^\[\]]*)\])?")


@dataclasses.dataclass(frozen=True)
class Request:
    """One item of a list such as `at,atop[rt=2],./mine.py:build`."""

    name: str
    parameters: Mapping[str, str]

    @property
    def is_file(self) -> bool:
        return self.name.partition(":")[0].endswith(".py")

    @property
    def label(self) -> str:
        inside = ",".join(f"{key}={value}" for key, value in sorted(self.parameters.items()))
        return f"{self.name}[{inside}]" if inside else self.name


def parse_list(text: str, kind: str, groups: Mapping[str, Iterable[str]]) -> list[Request]:
    """Split a list at its commas, outside brackets; the name of a group stands for its members."""
    items = [item.strip() for item in re.split(r",(?![^\[]*\])", text)]
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
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise BenchError(f"parameter {pair!r} of {item!r} is not key=value: write for example pgd-20[steps=50]")
        parameters[key.strip()] = value.strip()
    return parameters


def defense(request: Request, dataset: str, weights: Path | None) -> DefenseRef:
    """The registered defense of a request, with its checkpoints found and digested.

    Raises:
        BenchError: an unknown name or parameter, or a missing checkpoint.
    """
    entry = DEFENSES.get(request.name)
    config = dict(entry.config)
    for key, value in request.parameters.items():
        if key not in config:
            raise unknown(f"parameter of {entry.name}", key, config or ["none"])
        if value not in entry.choices.get(key, (value,)):
            raise BenchError(f"{entry.name}[{key}={value}]: {key} must be one of {', '.join(entry.choices[key])}")
        config[key] = value
    files = {name: locate(name, dataset, weights) for name in _weight_names(entry, config)}
    cards = {name: card(path) for name, path in files.items()}
    # What any part of the pipeline was trained on is not unseen (rule V10).
    seen = dict.fromkeys(threat for told in cards.values() for threat in told.get("trained_on", []))
    digests = {name: fingerprint.of_file(path) for name, path in files.items()}
    strangers = [
        str(files[name]) for name, told_ in cards.items() if told_.get("sha256", digests[name]) != digests[name]
    ]
    stochastic = entry.is_stochastic(config)
    return DefenseRef(
        label=request.label,
        source=entry.target,
        digest=fingerprint.of_text(entry.target, config, digests, fingerprint.of_code(entry.target)),
        stochastic=stochastic,
        offers=tuple(name for name in entry.offers if stochastic or name not in ("derandomized", "frozen")),
        trained_on=tuple(map(ThreatModel.parse, seen)),
        config=config,
        checkpoints={name: str(path) for name, path in files.items()},
        notes=tuple(f"{path} is not the file its card describes" for path in strangers),
    )


def _weight_names(entry: DefenseEntry, config: Mapping[str, str]) -> list[str]:
    return [name.format_map(config) for name in entry.weights]


def attack(request: Request) -> tuple[AttackEntry, AttackRef]:
    """The registered attack of a request.

    Raises:
        BenchError: an unknown name or parameter, or a package it needs is not installed.
    """
    entry = ATTACKS.get(request.name)
    if entry.parts and request.parameters:
        raise BenchError(
            f"{request.label!r}: {entry.name} has no parameters, its parts have: see bench show {entry.name}"
        )
    config = {**entry.config, **_typed(entry, request.parameters)}
    versions = fingerprint.of_requirements(entry.requires)
    code = fingerprint.of_code(entry.target or "bench.attacks")
    return entry, AttackRef(
        label=request.label,
        source=entry.target,
        digest=fingerprint.of_text(entry.target, config, versions, code),
        access=entry.access,
        config=config,
        forwards=entry.forwards,
        backwards=entry.backwards,
        eot=entry.eot,
        needs=entry.needs,
    )


def composite(request: Request, kind: str, fits: Callable[[AttackEntry], bool]) -> tuple[AttackRef, list[AttackRef]]:
    """An attack that is the worst case of others on a kind of defense, and those of them that fit."""
    entry = ATTACKS.get(request.name)
    named = [attack(Request(name, {})) for name in entry.parts[kind]]
    parts = [ref for part, ref in named if fits(part)]
    whole = AttackRef(
        label=request.label,
        source=" + ".join(part.label for part in parts),
        digest=fingerprint.of_text(*(part.digest for part in parts)),
        config={part.label: dict(part.config) for part in parts},
        forwards=sum(part.forwards for part in parts),
        backwards=sum(part.backwards for part in parts),
        eot=max(part.eot for part in parts),
    )
    return whole, parts


def _typed(entry: AttackEntry, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The parameters in the types of the attack's own fields."""
    if not parameters:
        return {}
    fields = {field.name: field for field in dataclasses.fields(load(entry.target))}
    typed = {}
    for key, text in parameters.items():
        if key not in fields:
            raise unknown(f"parameter of {entry.name}", key, fields)
        default = fields[key].default
        typed[key] = convert(text, type(default), f"{entry.name}[{key}={text}]")
    return typed


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
