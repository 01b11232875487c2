"""What became of a cell: its verdicts, what they cost, and what the judge noticed beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Per example, in how many of `draws` evaluation draws the defense was right.

    Attributes:
        draws: 1 for a deterministic defense.
        clean: uint8 `[n]`, correct draws without attack.
        adversarial: uint8 `[n]`, correct draws under attack; 0 wherever `clean` is 0, because an
            example misclassified without attack counts as broken.
    """

    draws: int
    clean: NDArray[np.uint8]
    adversarial: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.clean)


@dataclass(frozen=True)
class Cost:
    """Passes through a defense, summed over examples.

    Only inputs get gradients: a backward never computes those of weights.

    Attributes:
        forwards: one per example and draw.
        backwards: the same.
        wasted: those of both that were spent on examples already known to be broken.
    """

    forwards: int = 0
    backwards: int = 0
    wasted: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.forwards + other.forwards, self.backwards + other.backwards, self.wasted + other.wasted)


@dataclass(frozen=True)
class Component:
    """What one attack of a cell took, and took part in.

    Attributes:
        cost: its passes.
        entered: examples it was run on.
        broken: those of them that no draw got right afterwards.
    """

    cost: Cost = field(default_factory=Cost)
    entered: int = 0
    broken: int = 0

    def __add__(self, other: Component) -> Component:
        return Component(self.cost + other.cost, self.entered + other.entered, self.broken + other.broken)


@dataclass(frozen=True)
class Ledger:
    """Who spent the passes of a cell, and on which examples.

    Attributes:
        components: by the label of the attack, or of each attack that takes part in it, in their order.
        forwards: per example.
        backwards: per example.
    """

    components: Mapping[str, Component] = field(default_factory=dict)
    forwards: tuple[int, ...] = ()
    backwards: tuple[int, ...] = ()

    def followed_by(self, other: Ledger) -> Ledger:
        """The ledger of this shard and of the next."""
        return Ledger(
            _summed(self.components, other.components),
            self.forwards + other.forwards,
            self.backwards + other.backwards,
        )

    def beside(self, other: Ledger) -> Ledger:
        """The ledger of this attack and of another on the same examples."""
        return Ledger(
            _summed(self.components, other.components),
            tuple(map(sum, zip(self.forwards, other.forwards, strict=True))),
            tuple(map(sum, zip(self.backwards, other.backwards, strict=True))),
        )


def _summed(one: Mapping[str, Component], two: Mapping[str, Component]) -> dict[str, Component]:
    return {label: one.get(label, Component()) + two.get(label, Component()) for label in (*one, *two)}


@dataclass(frozen=True)
class Evidence:
    """What the judge noticed beside the counts.

    Attributes:
        silent: examples the attack had broken on its way and did not hand in (check A05).
        nonfinite: examples answered with NaN or Inf under attack (check S01); they count as broken.
        borderline: indices of examples whose margin was below 1e-4 in absolute value, where another
            machine or batch may round to the other side; of a deterministic defense alone.
        distances: of a minimum-norm attack, per example the Lp distance at which it is broken: 0 where
            it is wrong without attack, `None` where it withstood. Empty for every other attack.
        sampled: survivors of a cascade that its reserve was tried on as a sample.
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

    def followed_by(self, other: Evidence, offset: int) -> Evidence:
        """The evidence of this shard and of another that begins at example `offset`."""
        return Evidence(
            self.silent + other.silent,
            self.nonfinite + other.nonfinite,
            self.borderline + tuple(offset + index for index in other.borderline),
            self.distances + other.distances,
            self.sampled + other.sampled,
            self.escalated + other.escalated,
            tuple(dict.fromkeys((*self.unable, *other.unable))),
        )


@dataclass(frozen=True)
class Done:
    """The only outcome that can enter an accuracy."""

    verdicts: Verdicts
    cost: Cost = field(default_factory=Cost)
    evidence: Evidence = field(default_factory=Evidence)
    ledger: Ledger = field(default_factory=Ledger)


def joined(shards: Sequence[Done]) -> Done:
    """The shards of a cell, in order, as one."""
    evidence, ledger, offset = Evidence(), Ledger(), 0
    for shard in shards:
        evidence, ledger = evidence.followed_by(shard.evidence, offset), ledger.followed_by(shard.ledger)
        offset += len(shard.verdicts)
    verdicts = Verdicts(
        shards[0].verdicts.draws,
        np.concatenate([shard.verdicts.clean for shard in shards]),
        np.concatenate([shard.verdicts.adversarial for shard in shards]),
    )
    return Done(verdicts, sum((shard.cost for shard in shards), Cost()), evidence, ledger)


def worst_case(parts: Sequence[Done]) -> Done:
    """Several attacks on the same examples as one: per example the fewest correct draws."""
    counts = np.stack([part.verdicts.adversarial for part in parts]).min(axis=0)
    first = parts[0].verdicts
    evidence = Evidence(
        sum(part.evidence.silent for part in parts),
        max(part.evidence.nonfinite for part in parts),
        tuple(sorted({index for part in parts for index in part.evidence.borderline})),
    )
    cost = sum((part.cost for part in parts), Cost())
    ledger = reduce(Ledger.beside, (part.ledger for part in parts))
    return Done(Verdicts(first.draws, first.clean, counts), cost, evidence, ledger)


@dataclass(frozen=True)
class Skipped:
    """A meaningless pair, and why."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """A cell that broke; never robust, never broken, tried again by the next run."""

    error: str


Outcome = Done | Skipped | Failed
