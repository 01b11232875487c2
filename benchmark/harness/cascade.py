"""Cascades: several attacks in turn, each on the examples that the earlier ones left unbroken.

The verdicts are the worst case over the members (AutoAttack's protocol, Croce and Hein, ICML 2020,
arXiv:2003.01690), for fewer passes. A cascade may also hold back its most expensive members until there
is a reason for them: an alarm, or a break in a sample of the survivors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bench.catalogue.loading import load_attack
from bench.catalogue.refs import AttackRef
from bench.oracle.attack import Attack

# Beyond this gap the float32 softmax of the true class is exactly 1, since exp(-17) < 2^-24: the gradient of a loss on
# probabilities vanishes.
_SATURATED = 17.0
# One-sided, at 1 % by chance.
_SURE = 2.33
# The smallest sample: no break among fewer examples would be hardly any evidence.
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
        """Raise the error that kept every stage from running, if none ran."""

    def standing(self) -> Tensor:
        """Return the indices of the examples that are not broken, int64."""

    def gaps(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return `gap`, `slope` and `certain` of `masked`: the least gap and slope over image and proposal."""

    def misled(self, rows: Tensor) -> bool:
        """Return whether the gradients of a stochastic defense do not foretell how its answers change."""

    def held(self, rows: Tensor) -> Tensor:
        """Return the share of right draws of each example where it stands now, in draws that chose nothing, `[B]`."""

    def draw(self, rows: Tensor) -> Tensor:
        """Draw a uniform random number for each example, a pure function of the example."""


@dataclass(frozen=True)
class Cascade:
    """The members of a cascade.

    Attributes:
        stages: attacks that run on every survivor.
        reserve: attacks that run after an alarm only, or on the sample.
        audited: the share of the survivors on which the reserve runs as a sample; 0 for none.
    """

    stages: Sequence[Stage]
    reserve: Sequence[Stage] = ()
    audited: float = 0.0

    def run(self, shard: Attacked) -> tuple[int, int]:
        """Attack a shard; return on how many examples the reserve ran as a sample, and on how many after an alarm.

        The alarm is a masked gradient among the survivors, gradients that foretell nothing, or a break in the
        sample. A stage that needs a gradient where there is none is left out, and the shard records that.

        Raises:
            NoGradient: no stage could run.
        """
        for stage in self.stages:
            shard.attack(stage, shard.standing())
        left = shard.standing()
        if not self.reserve or not len(left):
            shard.require_attacked()
            return 0, 0
        # Before the sample: a masked gradient needs the whole reserve anyway.
        alarm = masked(*shard.gaps(left)) or shard.misled(left)
        sample = left[:0]
        if self.audited and not alarm:
            size = min(len(left), max(_LEAST, math.ceil(self.audited * len(left))))
            # In the order of the shard, as the rows of every batch are.
            sample = left[shard.draw(left).argsort()[:size].sort().values]
            before = shard.held(sample)
            for stage in self.reserve:
                shard.attack(stage, _within(shard.standing(), sample))
            alarm = fell(before, shard.held(sample))
        if not alarm:
            return len(sample), 0
        # The reserve has run on the sample already.
        rest = left[~torch.isin(left, sample)]
        for stage in self.reserve:
            shard.attack(stage, _within(shard.standing(), rest))
        shard.require_attacked()
        return len(sample), len(rest)


def attack_of(ref: AttackRef) -> Attack | Cascade:
    """Load the attack of a reference; where it has stages, the cascade of them."""
    if not ref.stages:
        return load_attack(ref)
    stages, reserve = (
        [Stage(member, load_attack(member)) for member in members] for members in (ref.stages, ref.reserve)
    )
    return Cascade(stages, reserve, ref.audited)


def masked(gap: Tensor, slope: Tensor, certain: Tensor) -> bool:
    """Return whether the gradient of any survivor is masked, so that gradient attacks had nothing to follow.

    Args:
        gap: logit of the true class minus the log-sum-exp of the others, `[B]`.
        slope: the largest entry of the gradient of the margin, `[B]`.
        certain: which examples are flat because they are certain (`bench.harness.certain`), bool `[B]`.
    """
    return bool((((slope == 0) | ~slope.isfinite() | (gap > _SATURATED)) & ~certain).any())


def fell(before: Tensor, after: Tensor) -> bool:
    """Return whether fewer draws of a sample are right than before, beyond what chance would do.

    Without randomness one example is enough. The draws of a stochastic defense differ each time: there the fall has to
    exceed `_SURE` standard errors of the paired difference.

    Args:
        before: shares of right draws, `[B]`.
        after: the same examples later, `[B]`.
    """
    fall = (before - after).double()
    if bool(((before == before.round()) & (after == after.round())).all()):
        return bool((fall > 0).any())
    # Of one example there is no spread to tell: any fall is an alarm.
    error = fall.std() / math.sqrt(len(fall)) if len(fall) > 1 else 0.0
    return bool(fall.mean() > _SURE * error)


def _within(rows: Tensor, some: Tensor) -> Tensor:
    return rows[torch.isin(rows, some)]
