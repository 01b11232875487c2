"""The results of one defense under one threat model, and the comparison of two attacks on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.catalogue.refs import AttackRef, is_file
from bench.results.cell import Cell
from bench.results.outcome import Done
from bench.results.stats import sign_flip

Counts = NDArray[np.int64]

# On a deterministic defense an attack beats another if it breaks this share of the examples more (0.2 %,
# AutoAttack's own alarm), but at least two, because one may be a matter of rounding.
BEATEN_SHARE = 0.002
BEATEN_LEAST = 2
# ... and on a stochastic one by an exact paired test at this level and a drop of at least this size.
LEVEL = 0.01
SMALLEST_DROP = 0.01

# The role of the probe that searches without a gradient.
BLACK_BOX = "black box"

# Variants whose gradient leaves the purifier out.
SKIPPING = ("base", "bpda")

_OURS, _BORROWED = "bench.attacks.", "bench.attacks.adapters."


@dataclass(frozen=True)
class Measured:
    """A finished attack.

    Attributes:
        is_composite: whether it is the worst case of others, which are in the group as well.
    """

    attack: AttackRef
    done: Done
    is_composite: bool = False

    @property
    def counts(self) -> Counts:
        return self.done.verdicts.adversarial.astype(np.int64)

    @property
    def accuracy(self) -> float:
        """Return the mean-of-N robust accuracy in [0, 1]."""
        return float(self.counts.mean()) / self.done.verdicts.draws

    @property
    def is_ours(self) -> bool:
        """Return whether our own code takes part in the attack, not only a user's file, a library or a plug-in."""
        members = (self.attack, *self.attack.stages, *self.attack.reserve)
        sources = (each.source for each in members if not is_file(each.source))
        return any(source.startswith(_OURS) and not source.startswith(_BORROWED) for source in sources)

    @property
    def is_gradient(self) -> bool:
        """Return whether the attack follows gradients of the defense itself."""
        return self.attack.access == "gradient" and not self.attack.needs and not self.is_composite

    @property
    def is_black_box(self) -> bool:
        return self.attack.access in ("score", "decision") or self.attack.needs in ("base", "derandomized", "source")


@dataclass(frozen=True)
class DefenseUnderThreat:
    """One defense under one threat model.

    Attributes:
        cell: any cell of the group: it names defense, threat and images.
        classes: the classes of the dataset; chance level is one over their number.
        table: the finished attacks of the user's table.
        probes: the checks' own runs by role, one attack each, on the first images of the same slice.
        asked: the attacks that the user asked for, finished or not.
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
        """Return the counts that several attacks together left of the first `n` examples.

        For a deterministic defense this is the per-example worst case. For a stochastic one it is the
        counts of the best single attack: the least of several noisy counts is below what any of them
        reaches, and no challenger could ever beat it.
        """
        counts = [attack.counts[:n] for attack in attacks if len(attack.counts) >= n]
        if not counts:
            return None
        if self.stochastic:
            return min(counts, key=lambda each: float(each.sum()))
        least: Counts = np.stack(counts).min(axis=0)
        return least

    def beaten(self, champion: Counts, challenger: Counts) -> int:
        """Count the examples that the challenger breaks beyond the champion; 0 unless that is significant.

        For a stochastic defense this is the drop in accuracy, rounded to examples.
        """
        n = min(len(champion), len(challenger))
        lost = champion[:n] - challenger[:n]
        if not self.stochastic:
            more = int((lost > 0).sum())
            return more if more >= max(BEATEN_LEAST, BEATEN_SHARE * n) else 0
        drop = float(lost.mean()) / self.draws
        significant = drop > SMALLEST_DROP and sign_flip(lost) < LEVEL
        return max(1, round(drop * n)) if significant else 0
