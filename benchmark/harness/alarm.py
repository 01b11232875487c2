"""The alarm of a cascade across shards: its reserve attacks all shards of a cell, or none.

A shard is computed alone and knows its own alarm only (`bench.harness.cascade`). When all shards are computed and
one of them raised the alarm, those without the reserve are computed again with it. So the response to a masked
gradient does not depend on how the examples were divided into shards. The sample of an audit still does: each shard
draws its own, of at least eight examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.catalogue.refs import AttackRef
from bench.results.cell import Cell
from bench.results.outcome import Done


def raised(attack: AttackRef, done: Done) -> bool:
    """Return whether a shard used its reserve: gradients were masked, or an example of the sample broke."""
    tried = [
        done.ledger.components[member.label] for member in attack.reserve if member.label in done.ledger.components
    ]
    return bool(done.evidence.escalated) or any(component.broken for component in tried)


def unaware(cell: Cell, shards: Mapping[int, Done]) -> list[int]:
    """Return the shards with survivors that still need the reserve, because another shard raised the alarm."""
    called = {index for index, done in shards.items() if raised(cell.attack, done)}
    if not called:
        return []
    # A shard without survivors has nothing for the reserve to break.
    return sorted(index for index, done in shards.items() if index not in called and done.verdicts.adversarial.any())


def with_reserve(attack: AttackRef) -> AttackRef:
    """Return the cascade with its reserve as ordinary stages, so that no shard decides about it."""
    return replace(attack, stages=(*attack.stages, *attack.reserve), reserve=(), audited=0.0)


def told(attack: AttackRef, done: Done) -> Done:
    """Return the outcome of a shard under `with_reserve(attack)` with the evidence that `attack` would have given."""
    first = done.ledger.components.get(attack.reserve[0].label)
    return done if first is None else replace(done, evidence=replace(done.evidence, escalated=first.entered))


def at_the_cost_of(before: Done, after: Done) -> Done:
    """Return the outcome of a shard that was computed twice: the second verdicts, the passes of both."""
    both = before.ledger.beside(after.ledger)
    # An attack of both runs counts its examples once. The guard that raises alarms took part in the first run only.
    entered = {**before.ledger.components, **after.ledger.components}
    components = {label: replace(entered[label], cost=sum_.cost) for label, sum_ in both.components.items()}
    return replace(after, cost=before.cost + after.cost, ledger=replace(both, components=components))
