"""The evaluation matrix: every defense against every attack under every threat that fits it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import libraries, selection, versions
from bench.catalogue import ATTACKS, DEFAULT_ATTACKS, DEFAULT_DEFENSES, DEFENSES
from bench.cell import SOURCE, AttackRef, Cell, DefenseRef, Planned, Slice
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.families import FAMILIES, LP_FAMILIES
from bench.registry import AttackEntry
from bench.request import Request, parse_list
from bench.types import ImageSpec, ThreatModel, family

# Groups of attacks that are judged per defense, by what it was trained on.
SEEN, UNSEEN = "seen", "unseen"
# For a run that looks at corruptions alone.
NO_ATTACKS = "none"

DEFAULT_DRAWS = 10
DEFAULT_BATCH = 128
# One hexadecimal byte per count in the store.
MOST_DRAWS = 255


@dataclass(frozen=True)
class MatrixRequest:
    """What the user asked for, as text and numbers."""

    defenses: str
    attacks: str
    threats: tuple[ThreatModel, ...]
    seed: int = 0
    draws: int = DEFAULT_DRAWS
    batch: int = DEFAULT_BATCH
    weights: Path | None = None


def build(request: MatrixRequest, examples: Examples) -> list[Planned]:
    """Resolve every name, then make the cells in the order of the table.

    Raises:
        BenchError: the first name, parameter or number that does not hold; nothing was computed.
    """
    _check_numbers(request)
    defenses_ = defenses(request.defenses, examples, request.weights)
    attacks = _attacks(request, examples.dataset, examples.spec)
    part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
    protocol = versions.of_harness()
    plan = []
    for defense in defenses_:
        for threat in request.threats:
            for entry, attack in attacks:
                if threat.family not in entry.families:
                    continue
                draws = request.draws if defense.stochastic else 1
                cell = Cell(defense, attack, threat, part, request.seed, draws, request.batch, protocol)
                skip = _unwanted(request, cell) or _undefined(entry, defense, threat, examples.spec)
                derived = entry.parts and skip is None
                plan.append(_composite(cell, entry, examples.spec) if derived else Planned(cell, skip))
    return [_derived_or_not(planned, plan) for planned in plan]


def labeled(plan: Sequence[Planned], label: str) -> list[Planned]:
    """The plan with every defense called `NAME#LABEL`; as it is where the label is empty.

    Raises:
        BenchError: the label holds what names of defenses or files may not.
    """
    if not label:
        return list(plan)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", label):
        raise BenchError(f"--label {label!r}: give letters, digits, dots, dashes and underscores, such as retrained")

    def over(cell: Cell) -> Cell:
        return replace(cell, defense=replace(cell.defense, label=f"{cell.defense.label}#{label}"))

    return [replace(each, cell=over(each.cell), parts=tuple(map(over, each.parts))) for each in plan]


def _derived_or_not(planned: Planned, plan: Sequence[Planned]) -> Planned:
    """A worst case is derived where its parts are columns anyway; else one runs on what the others left.

    A stochastic defense draws its noise for the examples of a batch together, so leaving some out would
    change the numbers of the others; there the parts are always cells of their own.
    """
    columns = {each.cell.key for each in plan}
    if planned.cell.defense.stochastic or all(part.key in columns for part in planned.parts):
        return planned
    return replace(planned, parts=())


def _composite(cell: Cell, entry: AttackEntry, spec: ImageSpec) -> Planned:
    """A cell that is the worst case of others; a part that makes no sense here is left out."""
    request = Request(cell.attack.label, {})
    whole, parts = selection.composite(
        request,
        _kind(cell.defense),
        lambda part: cell.threat.family in part.families and _undefined(part, cell.defense, cell.threat, spec) is None,
        cell.threat.family,
    )
    derived = () if entry.reserve else tuple(replace(cell, attack=part) for part in parts)
    return Planned(replace(cell, attack=whole), parts=derived)


def _kind(defense: DefenseRef) -> str:
    return "stochastic" if defense.stochastic else "deterministic"


def _meaningless(entry: AttackEntry, defense: DefenseRef) -> str | None:
    kind = _kind(defense)
    reason = entry.not_for.get(kind)
    if reason is not None:
        return f"{entry.name} is not for {kind} defenses: {reason}"
    if entry.needs not in ("", SOURCE, *defense.offers):
        return f"{entry.name} needs a {entry.needs} variant, which this defense does not declare"
    if defense.stochastic and entry.needs_if_stochastic and not set(entry.needs_if_stochastic) & set(defense.offers):
        wanted = " or ".join(entry.needs_if_stochastic)
        return f"{entry.name} needs a {wanted} variant of a stochastic defense, which this one does not declare"
    return None


def _undefined(entry: AttackEntry, defense: DefenseRef, threat: ThreatModel, spec: ImageSpec) -> str | None:
    """Why an attack makes no sense on a defense, or on these images."""
    return (
        _meaningless(entry, defense)
        or FAMILIES[threat.family].refuses(spec.shape)
        or entry.refuses(_kind(defense), threat.family, spec)
    )


def _check_numbers(request: MatrixRequest) -> None:
    for name, value, most in (
        ("--draws", request.draws, MOST_DRAWS),
        ("--batch", request.batch, 2**16),
    ):
        if not 1 <= value <= most:
            raise BenchError(f"{name} {value} is out of range: give 1 to {most}")
    if not 0 <= request.seed < 2**63:
        raise BenchError(f"--seed {request.seed} is out of range: give 0 to 2^63 - 1")
    if len(set(request.threats)) != len(request.threats):
        raise BenchError("a threat is named twice in --threat: name it once")


def check_names(defenses: str, attacks: str) -> None:
    """Raise a BenchError for the first name nobody has registered, before data or code is loaded."""
    for item in parse_list(defenses, "defense", {"default": DEFAULT_DEFENSES, "all": DEFENSES.names()}):
        _check_name(item)
    for item in parse_list(attacks, "attack", _groups(FAMILIES)):
        if not item.is_file:
            selection.entry(item)


def _check_name(item: Request) -> None:
    if item.is_peer:
        libraries.check(item)
    elif not item.is_file:
        inner = selection.held(item)
        if inner is not None:
            _check_name(inner)


def defenses(text: str, examples: Examples, weights: Path | None) -> list[DefenseRef]:
    """The defenses a `--defenses` option names, with their checkpoints found and digested.

    `all` stands for those that there are weights of: nobody has trained every defense on every dataset.
    """
    there = [name for name in DEFENSES.names() if selection.is_trained(name, examples.dataset, weights)]
    items = parse_list(text, "defense", {"default": DEFAULT_DEFENSES, "all": there})
    return _distinct([_defense(item, examples, weights) for item in items])


def _defense(item: Request, examples: Examples, weights: Path | None) -> DefenseRef:
    if item.is_file:
        from bench import custom

        return custom.defense_ref(item, examples.spec)
    if item.is_peer:
        return libraries.defense_ref(item, examples, weights)
    inner = selection.held(item)
    behind = None if inner is None else _defense(inner, examples, weights)
    return selection.defense(item, examples.dataset, weights, behind)


def _distinct(refs: list[DefenseRef]) -> list[DefenseRef]:
    labels = [ref.label for ref in refs]
    for label in labels:
        if labels.count(label) > 1:
            raise BenchError(f"two defenses are both called {label!r}: rename one of the files")
    return refs


def _groups(families: Collection[str]) -> dict[str, list[str]]:
    """The attacks that the name of a group stands for, where these threat families are asked for.

    `seen` and `unseen` are all of them: which cells they leave out depends on the defense.
    """
    there = [entry for entry in ATTACKS if set(families) & set(entry.families)]
    everything = [entry for entry in there if not entry.only_named]
    members = {
        NO_ATTACKS: [],
        "default": [entry for entry in there if entry.name in DEFAULT_ATTACKS],
        "all": everything,
        SEEN: everything,
        UNSEEN: everything,
        "lp": [entry for entry in everything if entry.group == "lp"],
        "non-lp": [entry for entry in everything if entry.group == "non-lp"],
        "score": [entry for entry in everything if entry.access == "score"],
        "decision": [entry for entry in everything if entry.access == "decision"],
    }
    return {group: [entry.name for entry in entries] for group, entries in members.items()}


def _unwanted(request: MatrixRequest, cell: Cell) -> str | None:
    """Why a cell is left out where only seen, or only unseen, threats are asked for."""
    asked = {item.strip() for item in request.attacks.split(",")}
    if SEEN in asked and UNSEEN not in asked and "all" not in asked and not cell.seen:
        return f"{cell.threat} was not seen in training; --attacks {SEEN} asks for what was"
    if UNSEEN in asked and SEEN not in asked and "all" not in asked and cell.seen:
        return f"{cell.threat} was seen in training; --attacks {UNSEEN} asks for what was not"
    return None


def _attacks(request: MatrixRequest, dataset: str, spec: ImageSpec) -> list[tuple[AttackEntry, AttackRef]]:
    families = {threat.family for threat in request.threats}
    if request.attacks == NO_ATTACKS:
        return []
    found = []
    for item in parse_list(request.attacks, "attack", _groups(families)):
        if item.is_file:
            from bench import custom

            found.append(custom.attack_ref(item, LP_FAMILIES, spec))
        else:
            found.append(selection.attack(item, dataset, request.weights))
    for entry, ref in found:
        if not families & set(entry.families):
            raise BenchError(
                f"attack {ref.label!r} needs a {' or '.join(entry.families)} threat: add one to --threat, such as "
                f"{entry.families[0]}:{FAMILIES[entry.families[0]].eps[1]}, or leave --threat out"
            )
    if not found:
        raise BenchError(
            f"--attacks {request.attacks!r} has no member for {', '.join(map(str, request.threats))}: "
            "name another group or --threat"
        )
    return found


def threats(
    text: str, eps: str, attacks: str, headline: Sequence[str], usual: Callable[[str], ThreatModel]
) -> tuple[ThreatModel, ...]:
    """The threat models that `--threat` and `--eps` name, or those the attacks are usually run under.

    Without either these are the headline families of the dataset; besides, every family that a group
    of attacks holds, and those of a named attack that none of the others fit.

    Args:
        text: `Linf:8/255,L2:0.5`; a family alone stands for its usual size: `Linf,recolor`.
        eps: `2/255,4/255,8/255`: one family at each of them.
        attacks: as in `--attacks`.
        headline: families of the dataset's own threat models.
        usual: the usual threat model of a family.

    Raises:
        BenchError: a family or an eps that is none, or two families for one list of eps.
    """
    if not eps:
        if text:
            return tuple(_threat(item.strip(), usual) for item in text.split(","))
        return tuple(usual(family) for family in dict.fromkeys((*headline, *_families_of(attacks, headline))))
    named = [family(item.partition(":")[0].strip()) for item in text.split(",")] if text else [headline[0]]
    if len(set(named)) != 1:
        raise BenchError(f"--eps {eps!r} is a list for one family: name it with --threat, such as --threat L2")
    return tuple(ThreatModel.parse(f"{named[0]}:{item}") for item in eps.split(","))


def _threat(item: str, usual: Callable[[str], ThreatModel]) -> ThreatModel:
    return ThreatModel.parse(item) if ":" in item else usual(family(item))


def _families_of(attacks: str, headline: Collection[str]) -> list[str]:
    """The families beyond the headline ones that these attacks need, in the order of `FAMILIES`."""
    groups = _groups(FAMILIES)
    needed: set[str] = set()
    for item in {item.strip() for item in attacks.split(",")} & set(groups) - {"default"}:
        needed.update(family for name in groups[item] for family in ATTACKS.get(name).families)
    for request in parse_list(attacks, "attack", dict.fromkeys(groups, ())):
        if not request.is_file:
            families = selection.entry(request).families
            needed.update(families if not set(headline) & set(families) else ())
    return [family for family in FAMILIES if family in needed]
