"""Studies: TOML files that fix what a run compares, ours (in `studies/` beside this module) or a user's own.

    title = "What each rung of knowledge takes away"
    defenses = "ap,atop"        # and attacks, dataset, threat, n, seed, draws: as the options of bench run
    beside = ["base"]           # variants of each defense to measure as a control
    [[rungs]]                   # attacks in order of strength, compared with the one before
    name = "blind"
    attack = "blind"

In place of rungs a study may have claims, each compared under each protocol:

    [[protocols]]
    name = "official"
    attacks = "blind"           # the worst case of these
    otherwise = "pgd-20"        # for a defense that none of them is defined for
    [[claims]]
    name = "AToP above AT on unseen attacks"
    better = "atop"
    worse = "at"
    on = "unseen"               # or "seen" by the better one, or "standard": without attack

Any study may carry published values, which are shown beside what is measured: `bench.catalogue.published`.

An option on the command line outranks the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.catalogue.options import of_studies
from bench.catalogue.published import PublishedValue, published_value
from bench.catalogue.request import parse_list
from bench.catalogue.toml_file import read_toml
from bench.errors import BenchError, brief, unknown

FOLDER = Path(__file__).parent / "studies"

# The attack that controls are measured under: they are deterministic, so it needs no EOT.
CONTROL = "pgd-20"

_BESIDE = ("base",)
_OPTIONS = of_studies()
_KEYS = ("title", "rungs", "beside", "protocols", "claims", "published", *_OPTIONS)
_ON = ("seen", "unseen", "standard")


@dataclass(frozen=True)
class Rung:
    """A step of a ladder: what the attacker knows, and the attack that uses this knowledge."""

    name: str
    attack: str


@dataclass(frozen=True)
class AttackProtocol:
    """The attacks that claims are tested under.

    Attributes:
        attacks: labels; the worst case of those that are defined for a defense counts.
        otherwise: labels, for a defense that none of `attacks` is defined for.
    """

    name: str
    attacks: tuple[str, ...]
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """The claim that one defense is better than another.

    Attributes:
        better: the label of the defense that is claimed to be better.
        worse: the label of the other.
        on: `seen` by the better one, `unseen` by both, or `standard`, without attack.
    """

    name: str
    better: str
    worse: str
    on: str


@dataclass(frozen=True)
class Study:
    """The comparison that a run makes.

    Attributes:
        title: for the head of its report.
        options: the options of `bench run` that it fixes.
        rungs: attacks in order of strength; empty for a plain matrix.
        beside: variants of each defense measured as a control, under the strongest deterministic rung.
        protocols: the attacks that the claims are tested under.
        claims: the comparisons of two defenses that are tested.
        published: values to show beside what is measured.
    """

    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    beside: tuple[str, ...] = ()
    protocols: tuple[AttackProtocol, ...] = ()
    claims: tuple[Claim, ...] = ()
    published: tuple[PublishedValue, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data; published values as text, because a number would lose its decimals."""
        return {**asdict(self), "published": [each.to_json() for each in self.published]}


def names() -> list[str]:
    """Return the names of the studies that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(name: str) -> Study:
    """Read a study by name, or from a file whose name ends in `.toml`.

    Raises:
        BenchError: no such study, not TOML, or an unknown key or invalid value.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise unknown("study", name, names())
    data = read_toml(path, "study", f"pass a TOML file or one of ours: {', '.join(names())}")
    for key in data:
        if key not in _KEYS:
            raise unknown(f"key of study {name!r}", key, _KEYS)
    options = {key: _of_type(name, key, data[key], kind) for key, kind in _OPTIONS.items() if key in data}
    rungs = tuple(_rung(name, row) for row in _of_type(name, "rungs", data.get("rungs", []), list))
    if rungs:
        if "attacks" in options:
            # Refused instead of merged: a ladder compares its rungs in order, and other attacks have no place in it.
            raise BenchError(f"study {name!r} has both attacks and rungs: the rungs name the attacks")
        options["attacks"] = ",".join(rung.attack for rung in rungs)
    _require_distinct(name, "rung", [rung.name for rung in rungs])
    beside = tuple(_of_type(name, "beside", data.get("beside", []), list))
    for variant in beside:
        if variant not in _BESIDE:
            raise unknown(f"control in study {name!r}", str(variant), _BESIDE)
    protocols = tuple(_protocol(name, row) for row in _of_type(name, "protocols", data.get("protocols", []), list))
    _require_distinct(name, "protocol", [protocol.name for protocol in protocols])
    claims = tuple(_claim(name, row) for row in _of_type(name, "claims", data.get("claims", []), list))
    _require_distinct(name, "claim", [claim.name for claim in claims])
    if claims:
        if rungs or "attacks" in options:
            raise BenchError(f"study {name!r} has claims: its protocols name the attacks, leave out rungs and attacks")
        if not protocols and any(claim.on != "standard" for claim in claims):
            raise BenchError(f"study {name!r} has claims and no [[protocols]]: say by which attacks they are tested")
        needed = (attack for protocol in protocols for attack in (*protocol.attacks, *protocol.otherwise))
        # A run needs an attack even if all claims are about standard accuracy; FGSM is the cheapest.
        options["attacks"] = ",".join(dict.fromkeys(needed)) or "fgsm"
    title = _of_type(name, "title", data.get("title", path.stem), str)
    published = tuple(
        published_value(name, row) for row in _of_type(name, "published", data.get("published", []), list)
    )
    return Study(title, options, rungs, beside, protocols, claims, published)


def _require_distinct(study: str, kind: str, names: Sequence[str]) -> None:
    """Raise a BenchError if two parts of a study have one name, which stands in the tables, whatever its case."""
    known: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        before = known.setdefault(name.casefold(), place)
        if before != place:
            raise BenchError(f"study {study!r}: {kind}s {before} and {place} are both called {name!r}: name them apart")


def _rung(name: str, row: object) -> Rung:
    if not isinstance(row, dict) or set(row) != {"name", "attack"}:
        raise BenchError(f"study {name!r}: a rung has a name and an attack, this one is {brief(row)}")
    return Rung(_of_type(name, "name", row["name"], str), _of_type(name, "attack", row["attack"], str))


def _protocol(name: str, row: object) -> AttackProtocol:
    if not isinstance(row, dict) or not {"name", "attacks"} <= set(row) <= {"name", "attacks", "otherwise"}:
        raise BenchError(
            f"study {name!r}: a protocol has name, attacks and perhaps otherwise, this one is {brief(row)}"
        )
    texts = {key: _of_type(name, key, value, str) for key, value in row.items()}
    labels = {
        key: tuple(request.label for request in parse_list(texts[key], "attack")) if texts.get(key) else ()
        for key in ("attacks", "otherwise")
    }
    return AttackProtocol(texts["name"], labels["attacks"], labels["otherwise"])


def _claim(name: str, row: object) -> Claim:
    keys = ("name", "better", "worse", "on")
    if not isinstance(row, dict) or set(row) != set(keys):
        raise BenchError(f"study {name!r}: a claim has {', '.join(keys)}, this one is {brief(row)}")
    claim = Claim(*(_of_type(name, key, row[key], str) for key in keys))
    if claim.on not in _ON:
        raise unknown(f"'on' of a claim in study {name!r}", claim.on, _ON)
    return claim


def _of_type(name: str, key: str, value: Any, kind: type) -> Any:  # noqa: ANN401  (checked here)
    # bool is an int in Python, and `n = true` is a mistake.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BenchError(f"study {name!r}: {key} = {_told(value)} must be {_SPELLED[kind]}")
    return value


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | Decimal) else brief(value)


_SPELLED = {str: "text", int: "a whole number", list: "a list"}
