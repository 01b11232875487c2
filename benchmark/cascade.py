"""Several attacks one after the other, each on what the ones before it have left.

The verdicts are those of the worst case of its members (AutoAttack's protocol, Croce and Hein, ICML
2020, arXiv:2003.01690), for fewer passes. A cascade may also hold back its most expensive members
until there is a reason for them: an alarm, or a sample of the survivors that they break.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from bench.types import Attack

if TYPE_CHECKING:
    from bench.cell import AttackRef

# The float32 softmax of the true class is exactly one beyond this gap: losses on probabilities go blind.
_SATURATED = 17.0
# A sample of fewer examples would say next to nothing.
_LEAST = 8


@dataclass(frozen=True)
class Stage:
    """An attack of a cascade, with the reference that names and seeds it."""

    ref: AttackRef
    attack: Attack


class Attacked(Protocol):
    """A shard under attack."""

    def attack(self, stage: Stage, rows: Tensor) -> None:
        """Run an attack on some of the examples."""

    def require_attacked(self) -> None:
        """Raise what kept every single stage from being run, where that is so."""

    def standing(self) -> Tensor:
        """The examples that are not broken, int64."""

    def gaps(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The least gap of the logits, the largest entry of a gradient of the margin, at image and proposal.

        And which of those without a slope are flat because nothing near changes their answer.
        """

    def draw(self, rows: Tensor) -> Tensor:
        """A uniform random number for each of some examples, a pure function of the example."""


@dataclass(frozen=True)
class Cascade:
    """The members of a cascade.

    Attributes:
        stages: run on whatever stands.
        reserve: held back.
        audited: the share of the survivors that the reserve is tried on; 0 for none.
    """

    stages: Sequence[Stage]
    reserve: Sequence[Stage] = ()
    audited: float = 0.0

    def run(self, shard: Attacked) -> tuple[int, int]:
        """Attack a shard; returns how many examples the reserve was tried on as a sample, and then on alarm.

        The alarm is a masked gradient among the survivors, or a break in the sample. A stage that needs a
        gradient where there is none is left out, and the shard knows of it.

        Raises:
            NoGradient: not one of them could be run.
        """
        for stage in self.stages:
            shard.attack(stage, shard.standing())
        left = shard.standing()
        if not self.reserve or not len(left):
            shard.require_attacked()
            return 0, 0
        alarm = masked(*shard.gaps(left))
        sample = left[:0]
        if self.audited and not alarm:
            size = min(len(left), max(_LEAST, math.ceil(self.audited * len(left))))
            sample = left[shard.draw(left).argsort()[:size].sort().values]
            for stage in self.reserve:
                shard.attack(stage, _within(shard.standing(), sample))
            alarm = len(_within(shard.standing(), sample)) < len(sample)
        if not alarm:
            return len(sample), 0
        rest = left[~torch.isin(left, sample)]
        for stage in self.reserve:
            shard.attack(stage, _within(shard.standing(), rest))
        shard.require_attacked()
        return len(sample), len(rest)


def masked(gap: Tensor, slope: Tensor, certain: Tensor) -> bool:
    """Whether gradients say nothing where attacks by gradient found nothing.

    Args:
        gap: logit of the true class less the log-sum-exp of the others, `[B]`.
        slope: the largest entry of the gradient of the margin, `[B]`.
        certain: which examples are flat because they are certain (`bench.checks.certain`), bool `[B]`.
    """
    return bool((((slope == 0) | ~slope.isfinite() | (gap > _SATURATED)) & ~certain).any())


def _within(rows: Tensor, some: Tensor) -> Tensor:
    return rows[torch.isin(rows, some)]
