"""All that is known of one defense under one threat model, and how two attacks on it are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.cell import AttackRef, Cell
from bench.outcome import Done
from bench.stats import sign_flip

Counts = NDArray[np.int64]

# An attack beats another on a deterministic defense where it breaks at least so many examples more:
# AutoAttack's own alarm, 0.2 % of the examples, but two, because one may be a matter of rounding.
BEATEN_SHARE = 0.002
BEATEN_LEAST = 2
# ... and on a stochastic one by an exact paired test at this level and at least so large a drop.
LEVEL = 0.01
SMALLEST_DROP = 0.01

# The role of the probe that searches without a gradient.
BLACK_BOX = "black box"

# Variants whose gradient leaves the purifier out.
SKIPPING = ("base", "bpda")

_OURS, _BORROWED = "bench.attacks.", "bench.attacks.adapters."


@dataclass(frozen=True)
class Measured:
    """An attack that was run to the end.

    Attributes:
        is_composite: whether it is the worst case of others, which stand beside it.
    """

    attack: AttackRef
    done: Done
    is_composite: bool = False

    @property
    def counts(self) -> Counts:
        return self.done.verdicts.adversarial.astype(np.int64)

    @property
    def accuracy(self) -> float:
        """Mean-of-N robust accuracy in [0, 1]."""
        return float(self.counts.mean()) / self.done.verdicts.draws

    @property
    def is_ours(self) -> bool:
        """Whether code of this package takes part in it: not a user's file, another library's or a plug-in's."""
        members = (self.attack, *self.attack.stages, *self.attack.reserve)
        return any(each.source.startswith(_OURS) and not each.source.startswith(_BORROWED) for each in members)

    @property
    def is_gradient(self) -> bool:
        """Whether it follows gradients of the defense itself."""
        return self.attack.access == "gradient" and not self.attack.needs and not self.is_composite

    @property
    def is_black_box(self) -> bool:
        return self.attack.access in ("score", "decision") or self.attack.needs in ("base", "derandomized", "source")


@dataclass(frozen=True)
class Group:
    """One defense under one threat model.

    Attributes:
        cell: any cell of it: it names defense, threat and images.
        classes: of the dataset; chance level is one over it.
        table: what the user asked for.
        probes: what the checks ran beside it, by role; on the first images of the same slice, and
            of one attack per role.
        asked: the attacks that were asked for, finished or not.
    """

    cell: Cell
    classes: int
    table: Sequence[Measured]
    probes: Mapping[str, Measured] = field(default_factory=dict)
    asked: Sequence[AttackRef] = ()

    @property
    def stochastic(self) -> bool:
        return self.cell.defense.stochastic

    @property
    def draws(self) -> int:
        return self.cell.draws

    def strongest(self, attacks: Sequence[Measured], n: int) -> Counts | None:
        """What some attacks left of the first `n` examples.

        The per-example worst case where the defense is deterministic. Where it is not, the counts of
        the one best attack: the least of several noisy counts is below what any of them reaches, and
        no challenger could ever beat it.
        """
        counts = [attack.counts[:n] for attack in attacks if len(attack.counts) >= n]
        if not counts:
            return None
        if self.stochastic:
            return min(counts, key=lambda each: float(each.sum()))
        least: Counts = np.stack(counts).min(axis=0)
        return least

    def beaten(self, champion: Counts, challenger: Counts) -> int:
        """How many examples the challenger breaks beyond the champion; 0 unless that is significant.

        For a stochastic defense examples are shares of draws, rounded.
        """
        n = min(len(champion), len(challenger))
        lost = champion[:n] - challenger[:n]
        if not self.stochastic:
            more = int((lost > 0).sum())
            return more if more >= max(BEATEN_LEAST, BEATEN_SHARE * n) else 0
        drop = float(lost.mean()) / self.draws
        significant = drop > SMALLEST_DROP and sign_flip(lost) < LEVEL
        return max(1, round(drop * n)) if significant else 0
