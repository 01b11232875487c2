"""An alarm in one shard of a cell concerns the others: the reserve of a cascade is called for all or for none.

A shard is computed alone, so it learns of its own alarm only (`bench.cascade`). When all are there and
one of them has raised it, those that went without the reserve are computed once more, with it. So what a
masked gradient calls for does not depend on how the examples were divided. The sample of an audit still
does: each shard draws its own, of eight at least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.cell import AttackRef, Cell
from bench.outcome import Done


def raised(attack: AttackRef, done: Done) -> bool:
    """Whether a shard called the reserve: gradients were masked, or an example of the sample broke."""
    tried = [
        done.ledger.components[member.label] for member in attack.reserve if member.label in done.ledger.components
    ]
    return bool(done.evidence.escalated) or any(component.broken for component in tried)


def unaware(cell: Cell, shards: Mapping[int, Done]) -> list[int]:
    """The shards that hold examples the reserve has not been tried on, though another has raised the alarm."""
    called = {index for index, done in shards.items() if raised(cell.attack, done)}
    if not called:
        return []
    return sorted(index for index, done in shards.items() if index not in called and done.verdicts.adversarial.any())


def with_reserve(attack: AttackRef) -> AttackRef:
    """The cascade whose reserve is part of its stages."""
    return replace(attack, stages=(*attack.stages, *attack.reserve), reserve=(), audited=0.0)


def told(attack: AttackRef, done: Done) -> Done:
    """What became of a shard under `with_reserve(attack)`, as the cascade itself would have said it."""
    first = done.ledger.components.get(attack.reserve[0].label)
    return done if first is None else replace(done, evidence=replace(done.evidence, escalated=first.entered))


def at_the_cost_of(before: Done, after: Done) -> Done:
    """A shard that was computed twice: the verdicts of the second time, the passes of both."""
    both = before.ledger.beside(after.ledger)
    # Who took part in both times counts its examples once; the guard that raises alarms was there the first time.
    entered = {**before.ledger.components, **after.ledger.components}
    components = {label: replace(entered[label], cost=sum_.cost) for label, sum_ in both.components.items()}
    return replace(after, cost=before.cost + after.cost, ledger=replace(both, components=components))
