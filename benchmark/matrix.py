"""The evaluation matrix: every defense against every attack under every threat that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import fingerprint, selection
from bench.catalogue import ATTACKS, DEFENSES
from bench.cell import AttackRef, Cell, DefenseRef, Planned, Slice
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.registry import AttackEntry
from bench.types import LP_FAMILIES, ThreatModel

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
    defenses = _defenses(request, examples)
    attacks = _attacks(request)
    part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
    harness = fingerprint.of_harness()
    plan = []
    for defense in defenses:
        for threat in request.threats:
            for entry, attack in attacks:
                if threat.family not in entry.families:
                    continue
                draws = request.draws if defense.stochastic else 1
                cell = Cell(defense, attack, threat, part, request.seed, draws, request.batch, harness)
                plan.append(_composite(cell) if entry.parts else Planned(cell, _meaningless(entry, defense)))
    return plan


def _composite(cell: Cell) -> Planned:
    whole, parts = selection.composite(selection.Request(cell.attack.label, {}), _kind(cell.defense))
    return Planned(replace(cell, attack=whole), parts=tuple(replace(cell, attack=part) for part in parts))


def _kind(defense: DefenseRef) -> str:
    return "stochastic" if defense.stochastic else "deterministic"


def _meaningless(entry: AttackEntry, defense: DefenseRef) -> str | None:
    kind = _kind(defense)
    reason = entry.not_for.get(kind)
    if reason is not None:
        return f"{entry.name} is not for {kind} defenses: {reason}"
    if entry.needs and entry.needs not in defense.offers:
        return f"{entry.name} needs a {entry.needs} variant, which this defense does not declare"
    return None


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
    for item in selection.parse_list(defenses, "defense", DEFENSES.names()):
        if not item.is_file:
            DEFENSES.get(item.name)
    for item in selection.parse_list(attacks, "attack", ATTACKS.names()):
        if not item.is_file:
            ATTACKS.get(item.name)


def _defenses(request: MatrixRequest, examples: Examples) -> list[DefenseRef]:
    found = []
    for item in selection.parse_list(request.defenses, "defense", DEFENSES.names()):
        if item.is_file:
            from bench import custom

            found.append(custom.defense_ref(item, examples.spec))
        else:
            found.append(selection.defense(item, examples.dataset, request.weights))
    return _distinct(found)


def _distinct(refs: list[DefenseRef]) -> list[DefenseRef]:
    labels = [ref.label for ref in refs]
    for label in labels:
        if labels.count(label) > 1:
            raise BenchError(f"two defenses are both called {label!r}: rename one of the files")
    return refs


def _attacks(request: MatrixRequest) -> list[tuple[AttackEntry, AttackRef]]:
    families = {threat.family for threat in request.threats}
    everything = [entry.name for entry in ATTACKS if families & set(entry.families) and not entry.only_named]
    found = []
    for item in selection.parse_list(request.attacks, "attack", everything):
        if item.is_file:
            from bench import custom

            found.append(custom.attack_ref(item, LP_FAMILIES))
        else:
            found.append(selection.attack(item))
    for entry, ref in found:
        if not families & set(entry.families):
            known = " or ".join(entry.families)
            raise BenchError(
                f"attack {ref.label!r} needs a {known} threat: add one to --threat, such as {entry.families[0]}:"
                f"{'8/255' if entry.families[0] == 'Linf' else '0.4'}"
            )
    return found


def threats(text: str, defaults: Sequence[ThreatModel]) -> tuple[ThreatModel, ...]:
    """The threat models a `--threat` option names; those of the dataset where it names none."""
    if not text:
        return tuple(defaults)
    return tuple(ThreatModel.parse(item) for item in text.split(","))
