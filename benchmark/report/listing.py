"""Lists of everything registered, and descriptions of single entries, as text. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.catalogue import ATTACKS, DEFENSES, study
from bench.catalogue.model_libraries import LIBRARIES
from bench.catalogue.parameters import about as said_of
from bench.catalogue.parameters import parameters
from bench.catalogue.registry import AttackEntry, DefenseEntry, Limits
from bench.catalogue.request import Request, parse_one
from bench.catalogue.weights import card, datasets, locate
from bench.datasets.names import SUMMARIES, known
from bench.errors import BenchError, unknown
from bench.report.columns import draw_listing, paragraphs, prose, screen_width
from bench.report.plain import flat
from bench.threats import FAMILIES, Family

_NEEDS = {"source": "another registered defense, named by the parameter source"}
# The column at which the values of `bench show` begin, and the width of descriptions without a terminal.
_KEYS, _PAGE = 14, 114
_KINDS = ("all", "attacks", "defenses", "datasets", "studies")


def listing(kind: str = "all") -> str:
    """Return the registered entries, one line each if the screen is wide enough.

    Args:
        kind: `attacks`, `defenses`, `datasets`, `studies` or `all`.
    """
    _require_kind(kind)
    listings = {"defenses": _defenses, "attacks": _attacks, "datasets": _datasets, "studies": _studies}
    width = screen_width()
    listed = [drawn(width) for each, drawn in listings.items() if kind in ("all", each)]
    return "\n\n".join([*listed, *(prose(flat(line), width) for line in _broken(kind))])


def _broken(kind: str) -> list[str]:
    """Return a line for each plug-in of a kind that does not load."""
    broken = {"defenses": DEFENSES.broken, "attacks": ATTACKS.broken}
    return [line for each, lines in broken.items() if kind in ("all", each) for line in lines]


def registered(kind: str = "all") -> Any:  # noqa: ANN401  (plain data)
    """Return the registered entries as plain data: every field of every entry."""
    _require_kind(kind)
    everything: dict[str, Any] = {
        "defenses": [dataclasses.asdict(entry) for entry in DEFENSES],
        "attacks": [dataclasses.asdict(entry) for entry in ATTACKS],
        "datasets": list(known()),
        "studies": [{"name": name, **study.read(name).to_json()} for name in study.names()],
    }
    return everything if kind == "all" else everything[kind]


def _require_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise unknown("list", kind, _KINDS)


def _defenses(width: int | None) -> str:
    rows = [
        (entry.name, _cite(entry.cite), ",".join(datasets(entry.weight_names(entry.config))) or "-", entry.summary)
        for entry in DEFENSES
    ]
    rows += [(f"{name}:NAME", _cite(library.cite), "its own", library.summary) for name, library in LIBRARIES.items()]
    return draw_listing(("defenses", "paper", "weights", "what it is"), rows, width)


def _attacks(width: int | None) -> str:
    rows = [
        (entry.name, entry.group, ",".join(entry.families), entry.access, _cost(entry), entry.summary)
        for entry in ATTACKS
    ]
    told = "what it does; its cost is forwards+backwards per example and draw"
    return draw_listing(("attacks", "group", "threats", "access", "cost", told), rows, width)


def _datasets(width: int | None) -> str:
    return draw_listing(("datasets", "what it holds"), list(SUMMARIES.items()), width)


def _studies(width: int | None) -> str:
    rows = []
    for name in study.names():
        each = study.read(name)
        options = " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in each.options.items())
        rows.append((name, _compares(each), f"{each.title}: {options}"))
    return draw_listing(("studies", "what it compares", "what it asks, and the options that it fixes"), rows, width)


def _compares(of: study.Study) -> str:
    """Return the counts of a study's parts: `4 rungs beside base`, `cells, 12 published`."""
    kinds = (("rung", of.rungs), ("claim", of.claims), ("protocol", of.protocols))
    counts = " x ".join(f"{len(each)} {kind}{'s' if len(each) > 1 else ''}" for kind, each in kinds if each)
    text = (counts or "cells") + "".join(f" beside {variant}" for variant in of.beside)
    return f"{text}, {len(of.published)} published" if of.published else text


def _cost(entry: AttackEntry) -> str:
    """Return the cost of an attack as `101+101`; a worst case of other attacks costs what they cost."""
    return "its parts'" if entry.parts else f"{entry.forwards}+{entry.backwards}"


def about(name: str, dataset: str = "digits") -> str:
    """Return all that is known of one defense or attack.

    Args:
        name: as on the command line, with parameters: `atop[rt=2]`, `pgd-20[steps=50]`, `timm:resnet18`,
            `./found.toml`.
        dataset: whose weights are described for a defense.

    Raises:
        BenchError: no entry has that name, or the file is none of attacks.
    """
    if dataset not in known():
        from bench.datasets.load import name_in_paths  # it brings numpy, which listing does without

        dataset = name_in_paths(dataset)
    return "\n".join(_about(name, dataset))


def _about(name: str, dataset: str) -> list[str]:
    if name in ATTACKS.names():
        # Plain names first: they need neither numpy nor torch.
        return _attack(ATTACKS.get(name))
    if name.partition(":")[0] in LIBRARIES:
        return _borrowed(name)
    plain = name.partition("[")[0]
    if name in DEFENSES.names():
        defense = DEFENSES.get(name)
        return _defense(defense, defense.config, dataset)
    from bench.catalogue import resolve  # it brings numpy, which listing does without

    if ":" in plain or Request(plain, {}).is_composition:
        return _attack(resolve.entry(parse_one(name, "attack")))
    if plain in ATTACKS.names():
        attack, ref = resolve.attack(parse_one(name, "attack"), dataset)
        return _attack(replace(attack, config=ref.config, forwards=ref.forwards, backwards=ref.backwards))
    if plain in DEFENSES.names():
        request = parse_one(name, "defense")
        foreign = resolve.held(request) is not None
        return _defense(DEFENSES.get(request.name), resolve.settings(request), dataset, foreign=foreign)
    raise unknown("name", name, [*ATTACKS.names(), *DEFENSES.names()])


def _attack(entry: AttackEntry) -> list[str]:
    lines = [_title(entry.name, entry.summary)]
    lines += [_line("paper", _cite(entry.cite))] if entry.cite else []
    lines.append(_line("access", entry.access))
    lines += [_line("threat", _threat(FAMILIES[name])) for name in entry.families]
    for key, limits in {"": Limits(), **entry.limits}.items():
        where = f"{key}: " if key else ""
        lines.append(_line("images", where + _images([FAMILIES[name] for name in entry.families], limits)))
    if not entry.in_turn:  # else the title names them
        lines += [_line("parts", f"{kind} defenses: {', '.join(parts)}") for kind, parts in entry.parts.items()]
    for kind, parts in entry.reserve.items():
        when = f"on {entry.audited:.0%} of the survivors, on all" if entry.audited else "on the survivors"
        lines.append(_line("reserve", f"{kind} defenses: {', '.join(parts)}, {when} after an alarm"))
    if not entry.parts:
        cost = f"at most {entry.forwards} forwards and {entry.backwards} backwards per example and draw"
        lines.append(_line("cost", cost))
    if entry.eot > 1:
        lines.append(_line("draws", f"{entry.eot} per query where the defense is stochastic"))
    lines += [_line("not for", f"{kind} defenses: {reason}") for kind, reason in entry.not_for.items()]
    if entry.needs:
        needs = _NEEDS.get(entry.needs, f"a {entry.needs} variant, which the defense declares")
        lines.append(_line("needs", needs))
    lines += [_line("no power", f"on {dataset}: {measured}") for dataset, measured in entry.powerless.items()]
    lines += [_line("requires", ", ".join(entry.requires))] if entry.requires else []
    return [*lines, _line("code", entry.target), *_parameters(entry)] if entry.target else lines


def _parameters(entry: AttackEntry) -> list[str]:
    lines = []
    for parameter in parameters(entry.target, entry.config):
        lines.append(_line("parameter", f"{parameter.name}={parameter.default}"))
        lines.append(paragraphs(parameter.about, screen_width(_PAGE), indent=" " * _KEYS))
    return [*lines, "", paragraphs(said_of(entry.target), screen_width(), indent="  ")]


def _threat(family: Family) -> str:
    small, medium, large = family.eps
    return f"{family.name}: {family.unit}; usually {small} on 8x8 digits, {medium} up to 64 pixels, {large} above"


def _images(families: Sequence[Family], limits: Limits) -> str:
    """Return which images an attack takes, and how many classes it needs."""
    kinds = "color" if all(family.colors for family in families) else "gray or color"
    smallest = max(min(family.smallest for family in families), limits.smallest)
    size = f"at least {smallest} pixels a side" if smallest > 1 else "any size"
    shape = ", as high as wide" if limits.square else ""
    return f"{kinds}, {size}{shape}; {limits.classes} classes or more"


def _defense(entry: DefenseEntry, config: Mapping[str, str], dataset: str, *, foreign: bool = False) -> list[str]:
    lines = [_title(entry.name, entry.summary), _line("paper", _cite(entry.cite))]
    for key, value in config.items():
        more = ", or a model from elsewhere" if key == entry.holds else ""
        choices = ", ".join(entry.choices.get(key, ("anything",)))
        lines.append(_line("parameter", f"{key}={value} (one of {choices}{more})"))
    lines += [_line("stochastic", "yes" if entry.is_stochastic(config) else "no"), _line("code", entry.target)]
    for weights in entry.weight_names(config, foreign=foreign):
        try:
            # The shipped weights only: what lies in a user's folder is not what the registry describes.
            path = locate(weights, dataset, None)
        except BenchError:
            lines.append(_line("weights", f"{weights}: none shipped for {dataset}"))
            continue
        lines.append(_line("weights", f"{weights}: {path.stat().st_size:,} bytes"))
        for key, value in card(path).items():
            if key not in ("name", "summary"):
                text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
                lines.append(_line(key, text, indent=4, keys=18))
    return lines


def _borrowed(name: str) -> list[str]:
    """Describe a defense of another library, with what that library says about it."""
    from bench.catalogue import borrowed

    request = parse_one(name, "defense")
    library = borrowed.check(request)
    lines = [_title(request.label, library.summary), _line("paper", _cite(library.cite))]
    lines += [_line("parameter", f"{key}: {said}") for key, said in library.parameters.items()]
    lines += [_line("requires", library.distribution), _line("code", library.target)]
    return [*lines, *(_line(key, told) for key, told in borrowed.facts(request).items())]


def _title(name: str, summary: str) -> str:
    return prose(f"{name}: {summary}", screen_width())


def _line(key: str, value: str, indent: int = 2, keys: int = 11) -> str:
    """Return a line such as `  paper       arXiv:1706.06083`, wrapped to the column where its value begins."""
    return prose(f"{'':{indent}s}{key:{keys}s} {value}", screen_width(), hang=" " * (keys + 1))


def _cite(cite: str) -> str:
    return f"arXiv:{cite}" if cite[:1].isdigit() else cite
