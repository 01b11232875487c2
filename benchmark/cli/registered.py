"""`bench list` and `bench show`: what is registered. Neither imports torch."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.catalogue import ATTACKS, DEFENSES
from bench.catalogue.libraries import LIBRARIES
from bench.checkpoints import card, datasets, locate
from bench.cli.parameters import about, parameters
from bench.datasets.names import SUMMARIES, known
from bench.errors import BenchError, unknown
from bench.families import FAMILIES, Family
from bench.registry import AttackEntry, DefenseEntry, Limits
from bench.request import parse_list

_NEEDS = {"source": "another registered defense, named by the parameter source"}
_KINDS = ("all", "attacks", "defenses", "datasets")


def list_(kind: str, as_json: bool) -> int:
    """Print what is registered, a line each."""
    if kind not in _KINDS:
        raise unknown("list", kind, _KINDS)
    if as_json:
        everything: dict[str, Any] = {
            "defenses": [dataclasses.asdict(entry) for entry in DEFENSES],
            "attacks": [dataclasses.asdict(entry) for entry in ATTACKS],
            "datasets": list(known()),
        }
        chosen = everything if kind == "all" else everything[kind]
        print(json.dumps(chosen, indent=1))
        return 0
    if kind in ("all", "defenses"):
        _list_defenses()
    if kind in ("all", "attacks"):
        _list_attacks()
    if kind in ("all", "datasets"):
        print("datasets")
        width = max(map(len, SUMMARIES))
        for name, summary in SUMMARIES.items():
            print(f"  {name:{width}s}  {summary}")
    return 0


def _list_defenses() -> None:
    rows = [
        (entry.name, _cite(entry.cite), ",".join(datasets(entry.weight_names(entry.config))) or "-", entry.summary)
        for entry in DEFENSES
    ]
    rows += [(f"{name}:NAME", _cite(library.cite), "its own", library.summary) for name, library in LIBRARIES.items()]
    _columns(("defenses", "paper", "weights", "what it is"), rows)


def _list_attacks() -> None:
    rows = [
        (entry.name, entry.group, ",".join(entry.families), entry.access, _cost(entry), entry.summary)
        for entry in ATTACKS
    ]
    _columns(("attacks", "group", "threats", "access", "cost", "forwards+backwards per example and draw"), rows)


def _columns(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of text below each other; the last column is as long as it is."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head) - 1)]
    for row in (head, *rows):
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))


def _cost(entry: AttackEntry) -> str:
    """`101+101`; that of an attack made of others is theirs."""
    return "its parts'" if entry.parts else f"{entry.forwards}+{entry.backwards}"


def show(name: str, dataset: str) -> int:
    """Print all that is known of one defense or attack.

    Raises:
        BenchError: nothing of that name is registered.
    """
    if name in ATTACKS.names():
        _show_attack(ATTACKS.get(name))
    elif name.partition(":")[0] in LIBRARIES:
        _show_borrowed(name)
    elif ":" in name.partition("[")[0]:
        from bench import selection  # it brings numpy, which listing does without

        (request,) = parse_list(name, "attack", {})
        _show_attack(selection.entry(request))
    elif name.partition("[")[0] in ATTACKS.names():
        from bench import selection

        (request,) = parse_list(name, "attack", {})
        attack, ref = selection.attack(request, dataset)
        _show_attack(replace(attack, config=ref.config, forwards=ref.forwards, backwards=ref.backwards))
    elif name in DEFENSES.names():
        defense = DEFENSES.get(name)
        _show_defense(defense, defense.config, dataset)
    elif name.partition("[")[0] in DEFENSES.names():
        from bench import selection

        (request,) = parse_list(name, "defense", {})
        foreign = selection.held(request) is not None
        _show_defense(DEFENSES.get(request.name), selection.settings(request), dataset, foreign=foreign)
    else:
        raise unknown("name", name, [*ATTACKS.names(), *DEFENSES.names()])
    return 0


def _show_attack(entry: AttackEntry) -> None:
    print(f"{entry.name}: {entry.summary}")
    _line("paper", _cite(entry.cite))
    _line("access", entry.access)
    for name in entry.families:
        _line("threat", _threat(FAMILIES[name]))
    for key, limits in {"": Limits(), **entry.limits}.items():
        where = f"{key}: " if key else ""
        _line("images", where + _images([FAMILIES[name] for name in entry.families], limits))
    for kind, parts in entry.parts.items():
        _line("parts", f"{kind} defenses: {', '.join(parts)}")
    for kind, parts in entry.reserve.items():
        when = f"on {entry.audited:.0%} of the survivors, on all" if entry.audited else "on the survivors"
        _line("reserve", f"{kind} defenses: {', '.join(parts)}, {when} after an alarm")
    if not entry.parts:
        _line("cost", f"at most {entry.forwards} forwards and {entry.backwards} backwards per example and draw")
    if entry.eot > 1:
        _line("draws", f"{entry.eot} per query where the defense is stochastic")
    for kind, reason in entry.not_for.items():
        _line("not for", f"{kind} defenses: {reason}")
    if entry.needs:
        _line("needs", _NEEDS.get(entry.needs, f"a {entry.needs} variant, which the defense declares"))
    for dataset, measured in entry.powerless.items():
        _line("no power", f"on {dataset}: {measured}")
    if entry.requires:
        _line("requires", ", ".join(entry.requires))
    if entry.target:
        _line("code", entry.target)
        _show_parameters(entry)


def _show_parameters(entry: AttackEntry) -> None:
    for parameter in parameters(entry.target, entry.config):
        _line("parameter", f"{parameter.name}={parameter.default}")
        for line in textwrap.wrap(parameter.about, 100):
            print(f"              {line}")
    print()
    print(textwrap.indent(about(entry.target), "  "))


def _threat(family: Family) -> str:
    small, medium, large = family.eps
    return f"{family.name}: {family.unit}; usually {small} on 8x8 digits, {medium} up to 64 pixels, {large} above"


def _images(families: Sequence[Family], limits: Limits) -> str:
    """What the images must be like, and how many classes there must be."""
    kinds = "color" if all(family.colors for family in families) else "gray or color"
    smallest = max(min(family.smallest for family in families), limits.smallest)
    size = f"at least {smallest} pixels a side" if smallest > 1 else "any size"
    shape = ", as high as wide" if limits.square else ""
    return f"{kinds}, {size}{shape}; {limits.classes} classes or more"


def _show_defense(entry: DefenseEntry, config: Mapping[str, str], dataset: str, *, foreign: bool = False) -> None:
    print(f"{entry.name}: {entry.summary}")
    _line("paper", _cite(entry.cite))
    for key, value in config.items():
        more = ", or a model from elsewhere" if key == entry.holds else ""
        _line("parameter", f"{key}={value} (one of {', '.join(entry.choices.get(key, ('anything',)))}{more})")
    _line("stochastic", "yes" if entry.is_stochastic(config) else "no")
    _line("code", entry.target)
    for weights in entry.weight_names(config, foreign=foreign):
        try:
            path = locate(weights, dataset, None)
        except BenchError:
            _line("weights", f"{weights}: none shipped for {dataset}")
            continue
        _line("weights", f"{weights}: {path.stat().st_size:,} bytes")
        for key, value in card(path).items():
            if key not in ("name", "summary"):
                print(f"    {key:18s} {json.dumps(value) if isinstance(value, (dict, list)) else value}")


def _show_borrowed(name: str) -> None:
    """A defense of another library, and what that library says of it."""
    from bench import libraries

    (request,) = parse_list(name, "defense", {})
    library = libraries.check(request)
    print(f"{request.label}: {library.summary}")
    _line("paper", _cite(library.cite))
    for key, said in library.parameters.items():
        _line("parameter", f"{key}: {said}")
    _line("requires", library.distribution)
    _line("code", library.target)
    for key, told in libraries.facts(request).items():
        _line(key, told)


def _line(key: str, value: str) -> None:
    print(f"  {key:11s} {value}")


def _cite(cite: str) -> str:
    return f"arXiv:{cite}" if cite[:1].isdigit() else cite
