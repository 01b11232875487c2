"""Outcomes of cells: verdicts, their cost, and evidence of the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Counts per example of the evaluation draws, out of `draws`, in which the defense was right.

    Attributes:
        draws: 1 for a deterministic defense.
        clean: uint8 `[n]`, correct draws without attack.
        adversarial: uint8 `[n]`, correct draws under attack; 0 wherever `clean` is 0, because an
            example misclassified without attack counts as broken.
    """

    draws: int
    # Compared by identity (eq=False), because arrays have no single truth value.
    clean: NDArray[np.uint8]
    adversarial: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.clean)


@dataclass(frozen=True, eq=False)
class Kept:
    """Images that a cell was judged on, as evidence; a store keeps the first ones of a cell.

    Attributes:
        x_adv: float32 `[k, C, H, W]`.
        clean: the class the defense answered without attack in the first evaluation draw, int64 `[k]`; -1 if the
            answer was not finite or was not kept.
        adversarial: likewise under attack.
    """

    x_adv: NDArray[np.float32]
    clean: NDArray[np.int64]
    adversarial: NDArray[np.int64]

    def first(self, k: int) -> Kept:
        """Return the first `k` of them."""
        return Kept(self.x_adv[:k], self.clean[:k], self.adversarial[:k])


@dataclass(frozen=True)
class Cost:
    """Passes through a defense, summed over examples.

    Only inputs get gradients: a backward never computes those of weights.

    Attributes:
        forwards: one per example and draw.
        backwards: the same.
        wasted: the passes of both kinds that were spent on examples already known to be broken.
    """

    forwards: int = 0
    backwards: int = 0
    wasted: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.forwards + other.forwards, self.backwards + other.backwards, self.wasted + other.wasted)


@dataclass(frozen=True)
class Component:
    """The share of one attack in a cell.

    Attributes:
        cost: its passes.
        entered: examples it was run on.
        broken: how many of them no draw got right afterwards.
    """

    cost: Cost = field(default_factory=Cost)
    entered: int = 0
    broken: int = 0

    def __add__(self, other: Component) -> Component:
        return Component(self.cost + other.cost, self.entered + other.entered, self.broken + other.broken)


@dataclass(frozen=True)
class Ledger:
    """The passes of a cell by attack and by example.

    Attributes:
        components: by the label of the attack, or of each attack of a cascade, in their order.
        forwards: per example.
        backwards: per example.
    """

    components: Mapping[str, Component] = field(default_factory=dict)
    forwards: Sequence[int] = ()
    backwards: Sequence[int] = ()

    def beside(self, other: Ledger) -> Ledger:
        """Return the ledger of this attack and another one on the same examples together."""
        return Ledger(
            _summed(self.components, other.components),
            tuple(map(sum, zip(self.forwards, other.forwards, strict=True))),
            tuple(map(sum, zip(self.backwards, other.backwards, strict=True))),
        )


def _summed(one: Mapping[str, Component], two: Mapping[str, Component]) -> dict[str, Component]:
    return {label: one.get(label, Component()) + two.get(label, Component()) for label in (*one, *two)}


@dataclass(frozen=True)
class Evidence:
    """Observations of the judge besides the counts.

    Attributes:
        silent: examples the attack had broken on its way but did not return broken (check A05).
        nonfinite: examples answered with NaN or Inf under attack (check S01); they count as broken.
        borderline: indices of examples whose margin was below 1e-4 in absolute value, where another
            machine or batch may round to the other side; only for a deterministic defense.
        distances: for a minimum-norm attack, the Lp distance at which each example is broken: 0 if
            it is misclassified without attack, `None` if it withstood. Empty for every other attack.
        sampled: survivors of a cascade that its reserve attacked as a sample.
        escalated: survivors that the reserve attacked because of an alarm.
        unable: attacks of the cell that could not be run, because the defense has no gradient.
    """

    silent: int = 0
    nonfinite: int = 0
    borderline: tuple[int, ...] = ()
    distances: tuple[float | None, ...] = ()
    sampled: int = 0
    escalated: int = 0
    unable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """The outcome of a finished cell, the only one that can enter an accuracy."""

    verdicts: Verdicts
    cost: Cost = field(default_factory=Cost)
    evidence: Evidence = field(default_factory=Evidence)
    ledger: Ledger = field(default_factory=Ledger)


def joined(shards: Sequence[Done]) -> Done:
    """Join the shards of a cell, in order, into one outcome."""
    # Each field in one go: to add shard to shard would copy all that came before, for every one of them.
    verdicts = Verdicts(
        shards[0].verdicts.draws,
        np.concatenate([shard.verdicts.clean for shard in shards]),
        np.concatenate([shard.verdicts.adversarial for shard in shards]),
    )
    ledger = Ledger(
        reduce(_summed, (shard.ledger.components for shard in shards), {}),
        tuple(chain.from_iterable(shard.ledger.forwards for shard in shards)),
        tuple(chain.from_iterable(shard.ledger.backwards for shard in shards)),
    )
    cost = sum((shard.cost for shard in shards), Cost())
    return Done(verdicts, cost, _evidence_of(shards), ledger)


def _evidence_of(shards: Sequence[Done]) -> Evidence:
    each = [shard.evidence for shard in shards]
    starts = accumulate((len(shard.verdicts) for shard in shards), initial=0)
    return Evidence(
        sum(one.silent for one in each),
        sum(one.nonfinite for one in each),
        # Indices are those of the cell, and each shard counts from 0.
        tuple(start + index for start, one in zip(starts, each, strict=False) for index in one.borderline),
        tuple(chain.from_iterable(one.distances for one in each)),
        sum(one.sampled for one in each),
        sum(one.escalated for one in each),
        tuple(dict.fromkeys(chain.from_iterable(one.unable for one in each))),
    )


def answers_alarm(after: Done, before: Done) -> bool:
    """Return whether an outcome of a shard is another one after an alarm: the reserve broke more of it, or nothing."""
    return bool(
        after.evidence.escalated
        and not before.evidence.escalated
        and np.array_equal(after.verdicts.clean, before.verdicts.clean)
        and (after.verdicts.adversarial <= before.verdicts.adversarial).all()
    )


def worst_case(parts: Sequence[Done]) -> Done:
    """Combine several attacks on the same examples: per example the fewest correct draws."""
    counts = np.stack([part.verdicts.adversarial for part in parts]).min(axis=0)
    # All parts have the same clean counts, because evaluation draws do not depend on the attack.
    first = parts[0].verdicts
    evidence = Evidence(
        sum(part.evidence.silent for part in parts),
        # At least so many: the parts do not say which examples, so a sum could count one twice.
        max(part.evidence.nonfinite for part in parts),
        tuple(sorted({index for part in parts for index in part.evidence.borderline})),
    )
    cost = sum((part.cost for part in parts), Cost())
    ledger = reduce(Ledger.beside, (part.ledger for part in parts))
    return Done(Verdicts(first.draws, first.clean, counts), cost, evidence, ledger)


@dataclass(frozen=True)
class Skipped:
    """The outcome of a meaningless pair of defense and attack, with the reason."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The outcome of a cell that crashed: neither robust nor broken, and tried again by the next run."""

    error: str


Outcome = Done | Skipped | Failed
