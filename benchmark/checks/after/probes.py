"""Probes: small runs, outside the table, with which the checks after the attacks compare it.

A probe is an ordinary cell on the first images of the slice: it is stored, resumed and computed in
parallel like any other, and never shown as a column. It has few images because it looks for large
failures, and because all checks together must cost a fraction of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from bench.catalogue import resolve
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.request import Request
from bench.checks.after.group import BLACK_BOX, DefenseUnderThreat, Measured
from bench.datasets.examples import Examples
from bench.results.cell import Cell, Planned, Slice
from bench.results.outcome import Done, Verdicts
from bench.results.store import Store
from bench.threats import LP_FAMILIES, ThreatModel

IMAGES = 32
# Every query of a stochastic defense takes 20 draws.
STOCHASTIC_IMAGES = 12
# The undefended base falls within a few steps, so more images cost little.
BASE_IMAGES = 128
# The most passes of all probes, as a share of those of the table's cells.
BUDGET = 0.1

# Queries of the search without a gradient, and the most passes of it, as a share of those left for probes.
_QUERIES = (1000, 300, 100, 30)
_BLACK_BOX_SHARE = 0.5

Key = tuple[str, str, str, int, int]


@dataclass(frozen=True)
class Probe:
    """A cell that the checks need.

    Attributes:
        role: its purpose: `half eps`, `noise`, `base`...; a group has one probe of each.
        group: the key of the group it is compared with.
    """

    role: str
    group: Key
    cell: Cell


def group_of(cell: Cell) -> Key:
    """Return the key of a cell's group: one defense under one threat model."""
    return cell.defense.label, cell.defense.digest, str(cell.threat), cell.seed, cell.draws


def plan(planned: Sequence[Planned], examples: Examples, *, share: float | None = BUDGET) -> list[Probe]:
    """Plan the probes of every defense under every Lp threat model of a plan.

    Args:
        planned: the cells of the table.
        examples: their images.
        share: the most passes of the probes, as a share of those of the table's cells, the most telling
            probes first; `None` for all of them, whatever they cost.
    """
    by_group: dict[Key, dict[str, Cell]] = {}
    for each in planned:
        if each.wanted and each.cell.threat.family in LP_FAMILIES and not each.cell.attack.known_draws:
            leaves = {cell.attack.label: cell for cell in each.parts or (each.cell,)}
            by_group.setdefault(group_of(each.cell), {}).update(leaves)
    found = []
    for cells in by_group.values():
        left = None if share is None else share * sum(cell.passes() for cell in cells.values())
        roles: set[str] = set()
        there = {stage.label for cell in cells.values() for stage in cell.attack.stages} | set(cells)
        for probe in _of(next(iter(cells.values())), there, examples):
            cost = probe.cell.passes()
            allowed = left if left is None or probe.role != BLACK_BOX else left * _BLACK_BOX_SHARE
            if probe.role not in roles and (allowed is None or cost <= allowed):
                found.append(probe)
                roles.add(probe.role)
                left = None if left is None else left - cost
    return found


def _of(cell: Cell, there: set[str], examples: Examples) -> Iterable[Probe]:
    """Yield the probes of one group, the most telling first, without what the table shows anyway."""
    defense, threat = cell.defense, cell.threat
    usual = _usual(defense)

    def probe(role: str, attack: AttackRef, *, at: ThreatModel = threat, of: DefenseRef = defense) -> Probe:
        most = BASE_IMAGES if role == "base" else images_for(defense)
        part = examples.part(0, min(most, len(examples)))
        piece = Slice(part.dataset, part.split, len(part), part.digest)
        return Probe(role, group_of(cell), replace(cell.against(of), attack=attack, threat=at, slice=piece))

    if not there & {"square", "square-eot"}:  # a Square in the table or in a cascade is as good for A03
        yield from (probe(BLACK_BOX, attack) for attack in _searches(defense))
    yield probe("noise", _attack("noise"))
    # A certified defense is flat around some images, and no step leaves them; more starts find a slope at this eps.
    often = usual if defense.stochastic else _attack(usual.label, n_restarts="3")
    for attack in (often, usual):  # one start if three are beyond the budget
        yield probe("large eps", attack, at=replace(threat, eps=_large(threat, examples)))
    if "base" in defense.offers:
        yield probe("base", _attack("pgd-20"), of=defense.as_variant("base"))
    if "base" in defense.offers and "blind" not in there:
        yield probe("blind", _attack("blind"))
    if "bpda" in defense.offers and "bpda" not in there:
        yield probe("bpda", _attack("bpda", eot="10"))
    if usual.label not in there:
        yield probe("same eps", usual)
    if defense.stochastic:
        yield probe("frozen", _attack("pgd-20"), of=defense.as_variant("frozen"))
        yield probe("double eot", _attack(usual.label, eot="40"))
    yield probe("double steps", _attack(usual.label, steps="40"))
    # If even one draw per gradient breaks more at half the eps, the attack at the whole eps fails.
    yield probe("half eps", _attack("pgd-20"), at=replace(threat, eps=threat.eps / 2))
    yield probe("double eps", usual, at=_at_most(threat, 2 * threat.eps))


def images_for(defense: DefenseRef) -> int:
    """Return the number of images of a defense's probes."""
    return STOCHASTIC_IMAGES if defense.stochastic else IMAGES


def _searches(defense: DefenseRef) -> Iterable[AttackRef]:
    """Yield random searches without a gradient, the longest first: the longest within the budget is run."""
    for queries in _QUERIES:
        if defense.stochastic:
            yield _attack("square-eot", queries=str(queries), eot="4")
        else:
            yield _attack("square", queries=str(queries))


def _usual(defense: DefenseRef) -> AttackRef:
    """Return the attack that the probes vary."""
    return _attack("pgd-eot-20" if defense.stochastic else "pgd-20")


def _attack(name: str, **parameters: str) -> AttackRef:
    return resolve.attack(Request(name, parameters))[1]


def _at_most(threat: ThreatModel, eps: Fraction) -> ThreatModel:
    return replace(threat, eps=min(eps, Fraction(1)) if threat.family == "Linf" else eps)


def _large(threat: ThreatModel, examples: Examples) -> Fraction:
    """Return an eps at which no classifier can be right, because every image may become gray."""
    channels, height, width = examples.spec.shape
    size = channels * height * width
    half = Fraction(1, 2)
    scale = {"Linf": Fraction(1), "L2": Fraction(round(size**0.5 * 1000), 1000), "L1": Fraction(size)}
    return max(half * scale[threat.family], threat.eps)


def groups(
    planned: Sequence[Planned], probes: Sequence[Probe], store: Store, aside: Store, classes: int
) -> list[DefenseUnderThreat]:
    """Collect the stored results of every defense under every threat model of a plan.

    Args:
        planned: the cells of the table.
        probes: the probes of the plan.
        store: holds the verdicts of the table.
        aside: holds the verdicts of the probes.
        classes: the number of classes of the dataset.
    """
    cells: dict[Key, dict[str, Cell]] = {}
    asked: dict[Key, dict[str, AttackRef]] = {}
    for each in planned:
        # An attacker who knows the draws is stronger than all others, whom the checks compare.
        if not each.wanted or each.cell.threat.is_shift or each.cell.attack.known_draws:
            continue
        key = group_of(each.cell)
        cells.setdefault(key, {}).update({cell.attack.label: cell for cell in (each.cell, *each.parts)})
        asked.setdefault(key, {}).update({cell.attack.label: cell.attack for cell in each.parts or (each.cell,)})
    found = []
    for key, mine in cells.items():
        table = [
            measured
            for label, cell in mine.items()
            if (measured := _measured(cell, store, is_composite=label not in asked[key])) is not None
        ]
        beside = {
            probe.role: measured
            for probe in probes
            if probe.group == key and (measured := _measured(probe.cell, aside)) is not None
        }
        cell = next(iter(mine.values()))
        found.append(
            DefenseUnderThreat(cell, classes, table, {**_from_table(cell, table), **beside}, tuple(asked[key].values()))
        )
    return found


def _from_table(cell: Cell, table: Sequence[Measured]) -> dict[str, Measured]:
    """Return the first images of the attack that probes vary, if the table has it."""
    usual = _usual(cell.defense).label
    n = images_for(cell.defense)
    for measured in table:
        if measured.attack.label == usual:
            verdicts = measured.done.verdicts
            part = Verdicts(verdicts.draws, verdicts.clean[:n], verdicts.adversarial[:n])
            return {"same eps": Measured(measured.attack, Done(part))}
    return {}


def _measured(cell: Cell, store: Store, *, is_composite: bool = False) -> Measured | None:
    outcome = store.find(cell)
    return Measured(cell.attack, outcome, is_composite) if isinstance(outcome, Done) else None
