"""Files that compose an attack of registered ones: `--attacks ./found.toml`.

    attacks = ["across-draws[budget=300]", "bpda[loss=margin]"]

They run in this order, each on the examples that the earlier ones left. The file is data: it names no code, so it may
come from anybody. What else it tells, in `[search]`, is for people; only the attacks, their parameters and their order
are its identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.catalogue import ATTACKS
from bench.catalogue.attack_libraries import peer_entry
from bench.catalogue.refs import SOURCE
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import Request, parse_list
from bench.catalogue.toml_file import read_toml
from bench.errors import BenchError, brief, unknown
from bench.threats import FAMILIES

# The other table is the record of the search that found it.
_ATTACKS, _RECORD = "attacks", "search"
_SHOWN = 'attacks = ["pgd-20[steps=50]", "square"]'
_ACCESS = ("gradient", "score", "decision")


def entry_of_file(request: Request) -> AttackEntry:
    """Return the entry of the attack that a file composes.

    Raises:
        BenchError: no such file, or it is no list of registered attacks.
    """
    path = request.path
    if request.parameters:
        raise BenchError(f"{request.label!r}: a file of attacks has no parameters; those of its attacks stand in it")
    label = request.short_label
    if label in ATTACKS.names():
        raise BenchError(f"{str(path)!r} is called like the attack {label!r}: rename the file")
    remedy = "bench search-attack writes one, or see docs/search.md"
    told = read_toml(path, "file of attacks", remedy)
    for key in told:
        if key not in (_ATTACKS, _RECORD):
            raise unknown(f"key of {str(path)!r}", key, (_ATTACKS, _RECORD))
    named = told.get(_ATTACKS)
    if not isinstance(named, list) or not named or not all(isinstance(each, str) for each in named):
        raise BenchError(f"{str(path)!r}: attacks is {brief(named)}: give a list of names, such as {_SHOWN}")
    try:
        return in_turn(label, parse_list(",".join(named), "attack"))
    except BenchError as error:
        raise BenchError(f"{str(path)!r}: {error}") from None


def in_turn(label: str, requests: Sequence[Request]) -> AttackEntry:
    """Return the entry of an attack that runs registered attacks in turn, each on what the earlier ones left.

    Raises:
        BenchError: one of them is not registered, or is itself made of others, or there is no family for all.
    """
    entries = [_member(request) for request in requests]
    families = [name for name in FAMILIES if all(name in each.families for each in entries)]
    if not families:
        raise BenchError(f"{' and '.join(each.name for each in entries)} have no threat family in common")
    names = tuple(request.label for request in requests)
    return AttackEntry(
        label,
        "",
        "",
        f"one after the other: {', '.join(names)}",
        tuple(families),
        access=min((each.access for each in entries), key=_ACCESS.index),
        parts={"deterministic": names, "stochastic": names},
        in_turn=True,
        only_named=True,
    )


def _member(request: Request) -> AttackEntry:
    if request.is_file or request.is_composition:
        raise BenchError(f"{request.label!r} is a file: name registered attacks only")
    found = peer_entry(request.name, request.parameters) if request.is_peer else ATTACKS.get(request.name)
    if found.parts:
        raise BenchError(f"{found.name!r} is made of other attacks: name its parts")
    if found.needs == SOURCE:
        raise BenchError(f"{found.name!r} attacks another defense: name it with --attacks instead")
    return found


def as_toml(attacks: Sequence[str], record: Mapping[str, str | int | float]) -> str:
    """Return the text of a file of attacks.

    Args:
        attacks: as they are typed, in their order.
        record: what is known of the search that found them.
    """
    lines = [
        "# An attack: these run in this order, each on the images that the earlier ones left.",
        "# bench run --defenses DEFENSE --attacks ./THIS-FILE.toml",
        "attacks = [",
        *(f"    {_quoted(each)}," for each in attacks),
        "]",
        "",
        "# How it was found. Nothing reads this table, and it is no part of the attack.",
        f"[{_RECORD}]",
        *(f"{key} = {_quoted(value) if isinstance(value, str) else value}" for key, value in record.items()),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return text as a basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in escaped)
    return f'"{plain}"'


def require_name(path: Path) -> None:
    """Raise a BenchError unless a file of this name can be named with `--attacks`."""
    if path.suffix != ".toml":
        raise BenchError(f"--out {str(path)!r} must end in .toml: name it {path.with_suffix('.toml').name!r}")
    if set("[],:") & set(str(path)):
        raise BenchError(f"--out {str(path)!r}: --attacks could not name it; leave out brackets, commas and colons")
    if path.stem in ATTACKS.names():
        raise BenchError(f"--out {str(path)!r} is called like the attack {path.stem!r}: name it otherwise")
