"""The evaluation matrix: every defense against every attack under every threat model of the attack."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path

from bench.catalogue import resolve, versions
from bench.catalogue.options import DEFAULT_BATCH, DEFAULT_DRAWS
from bench.catalogue.refs import SOURCE, DefenseRef
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import NAME, parse_one
from bench.catalogue.selection import SEEN, UNSEEN, Selection
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.results.cell import Cell, Planned, Slice
from bench.threats import FAMILIES, ThreatModel
from bench.types import ImageSpec

# One hexadecimal byte per count in the store.
MOST_DRAWS = 255


def build(
    selection: Selection,
    examples: Examples,
    *,
    seed: int = 0,
    draws: int = DEFAULT_DRAWS,
    batch: int = DEFAULT_BATCH,
    weights: Path | None = None,
) -> list[Planned]:
    """Resolve every name, then make the cells in the order of the table.

    Args:
        selection: the defenses, attacks and threat models.
        examples: the images of the cells.
        seed: the seed of the run, 0 to 2^63 - 1.
        draws: evaluation draws that judge a stochastic defense, 1 to 255.
        batch: images per shard.
        weights: the user's folder of weights, searched first.

    Raises:
        BenchError: names the first name, parameter or number that is wrong; nothing was computed.
    """
    _check_numbers(seed, draws, batch)
    defenses = selection.defense_refs(examples, weights)
    attacks = selection.attack_refs(examples.dataset, examples.spec, weights)
    part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
    protocol = versions.of_harness()
    plan = []
    for defense in defenses:
        for threat in selection.threats:
            for entry, attack in attacks:
                if threat.family not in entry.families:
                    continue
                judged_by = draws if defense.stochastic else 1
                cell = Cell(defense, attack, threat, part, seed, judged_by, batch, protocol)
                unwanted = _unwanted(selection.only, cell)
                planned = Planned(cell, unwanted) if unwanted else planned_cell(cell, entry, examples.spec)
                plan.append(replace(planned, broken=defense.broken or attack.broken))
    # Only now are all columns known.
    columns = {planned.cell.key for planned in plan}
    return [_derived_or_not(planned, columns) for planned in plan]


def planned_cell(cell: Cell, entry: AttackEntry, spec: ImageSpec) -> Planned:
    """Plan the cell of an attack: skipped where it is undefined, with its parts where it is made of others.

    Args:
        cell: with the attack of `entry`, whose families hold that of its threat.
        entry: of the attack.
        spec: the images.
    """
    skip = _undefined(entry, cell.defense, cell.threat, spec)
    return _composite(cell, entry, spec) if entry.parts and skip is None else Planned(cell, skip)


def labeled(plan: Sequence[Planned], label: str) -> list[Planned]:
    """Return the plan with every defense renamed to `NAME#LABEL`; unchanged where the label is empty.

    Raises:
        BenchError: the label has a character that names of defenses or files may not have.
    """
    if not label:
        return list(plan)
    if not NAME.fullmatch(label):
        raise BenchError(f"--label {label!r}: give letters, digits, dots, dashes and underscores, such as retrained")

    def over(cell: Cell) -> Cell:
        return replace(cell, defense=replace(cell.defense, label=f"{cell.defense.label}#{label}"))

    return [replace(each, cell=over(each.cell), parts=tuple(map(over, each.parts))) for each in plan]


def _derived_or_not(planned: Planned, columns: AbstractSet[str]) -> Planned:
    """Keep the parts of a worst case if they are columns anyway; else drop them, so that it runs as a cascade.

    A stochastic defense draws noise for the examples of a batch together, so dropping some of them would
    change the noise of the others; its parts are always cells of their own.
    """
    if planned.cell.defense.stochastic or all(part.key in columns for part in planned.parts):
        return planned
    return replace(planned, parts=())


def _composite(cell: Cell, entry: AttackEntry, spec: ImageSpec) -> Planned:
    """Plan a cell that is the worst case of others, without the parts that are undefined here."""
    whole, parts = resolve.composite(
        entry,
        _kind(cell.defense),
        lambda part: cell.threat.family in part.families and _undefined(part, cell.defense, cell.threat, spec) is None,
        cell.threat.family,
    )
    # In turn or with a reserve the parts depend on what the earlier ones found, so they cannot be computed apart; and
    # alone they know no draws.
    derived = (
        ()
        if entry.reserve or entry.known_draws or entry.in_turn
        else tuple(replace(cell, attack=part) for part in parts)
    )
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
    """Return why an attack is undefined for a defense or for these images; `None` where it is defined."""
    return (
        _meaningless(entry, defense)
        or FAMILIES[threat.family].refuses(spec.shape)
        or entry.refuses(_kind(defense), threat.family, spec)
        or next(filter(None, (_undefined(part, defense, threat, spec) for part in _in_turn(entry, defense))), None)
    )


def _in_turn(entry: AttackEntry, defense: DefenseRef) -> list[AttackEntry]:
    """Return the parts of an attack that all have to be defined; none for a worst case, which leaves some out."""
    names = entry.parts[_kind(defense)] if entry.in_turn else ()
    return [resolve.entry(parse_one(name, "attack")) for name in names]


def _check_numbers(seed: int, draws: int, batch: int) -> None:
    for name, value, most in (("--draws", draws, MOST_DRAWS), ("--batch", batch, 2**16)):
        if not 1 <= value <= most:
            raise BenchError(f"{name} {value} is out of range: give 1 to {most}")
    if not 0 <= seed < 2**63:
        raise BenchError(f"--seed {seed} is out of range: give 0 to 2^63 - 1")


def _unwanted(only: str, cell: Cell) -> str | None:
    """Return why a cell is skipped when only seen, or only unseen, threats are asked for; `None` where it is not."""
    if only == SEEN and not cell.seen:
        return f"{cell.threat} was not seen in training; --attacks {SEEN} asks for what was"
    if only == UNSEEN and cell.seen:
        return f"{cell.threat} was seen in training; --attacks {UNSEEN} asks for what was not"
    return None
