"""Building blocks of iterative attacks: the unbroken examples, the step direction and the best point so far.

Three rules live here, so that no attack can forget one of them: an example that the oracle calls
broken takes no further queries, an answer that is not a number never loses a point, and an attack
returns the best point it has judged, not the last one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.errors import BenchError, unknown
from bench.oracle.answers import Gradient, Loss, margin, misclassified
from bench.oracle.geometry import per_row, steepest
from bench.oracle.oracle import EVIDENCE_DRAWS, Oracle
from bench.threats import ThreatModel

# How the length of a step changes along a run: not at all, or from `step_size` to nothing along half a cosine, as
# learning rates do (Loshchilov and Hutter, arXiv:1608.03983).
SCHEDULES = ("constant", "cosine")
_FADING = 0.8  # weight of the past in the running mean of a stochastic score
# Entries that a step in L1 moves. From the middle of the box a unit of eps takes two entries to the
# edge. On the robust CIFAR-10 network at eps 3 to 24, 20 steps with 2.5 to 6 entries per unit
# differed little, and with 10 entries or one they reached less; on linear models, 4 reach 99 %.
_ENTRIES_PER_EPS = 4
_GRADE = 1.0  # of its `sparse_step`: the projection of a long gradient step
_ALMOST = 0.99  # share of the strongest gradient left out that a sparse step subtracts from the others


def require_family(attack: object, threat: ThreatModel, families: tuple[str, ...]) -> None:
    """Raise a `BenchError` if the attack is not defined for the threat model."""
    if threat.family not in families:
        name = type(attack).__name__
        raise BenchError(f"{name} is not defined for {threat}: it attacks {', '.join(families)}")


def require_at_least(attack: object, least: int, *names: str) -> None:
    """Raise a `BenchError` if one of the hyper-parameters `names` is below `least`."""
    for name in names:
        value = getattr(attack, name)
        if value < least:
            raise BenchError(f"{type(attack).__name__}: {name}={value} must be at least {least}")


def require_loss(name: str) -> None:
    """Raise a `BenchError` if `name` is not one of `LOSSES`."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)


def require_schedule(name: str) -> None:
    """Raise a `BenchError` if `name` is not one of `SCHEDULES`."""
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)


def scheduled(step_size: float, name: str, done: float) -> float:
    """Return the length of a step, in the unit of `step_size`, after the share `done` in [0, 1) of all steps."""
    if name == "cosine":
        return step_size * (1 + math.cos(math.pi * done)) / 2
    return step_size


def direction(grad: Tensor, family: str) -> Tensor:
    """Return the steepest direction of each row, also for gradients that are tiny or not numbers.

    Each row is scaled to a largest entry of one before its norm is taken: the squares of a gradient
    of 1e-23, which a confident model gives, are zero in float32. Entries that are not finite
    count as zero. In Linf only the signs count, whatever the scale.
    """
    return steepest(_finite(grad) if family == "Linf" else to_scale(grad), family)


def _finite(grad: Tensor) -> Tensor:
    return torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)


def to_scale(grad: Tensor) -> Tensor:
    """Return each row with a largest absolute entry of one; entries that are not finite count as zero."""
    grad = _finite(grad)
    largest = per_row(grad.flatten(1).abs().amax(1), grad)
    return grad / torch.where(largest > 0, largest, 1)


def sparse_step(grad: Tensor, x: Tensor, count: Tensor, length: Tensor, *, grade: float) -> Tensor:
    """Return a step of L1 length `length` along about `count` entries: the strongest that can still move.

    Entries at the edge of the box are pushed outwards, too, because then the projection keeps them
    there, but they count neither for `count` nor for `length`. Equal steps (SLIDE, Tramer and Boneh,
    arXiv:1904.13000; APGD, arXiv:2103.01208) spread the budget evenly over all entries that move;
    here the stronger ones move more, so that they outgrow the others under the projection.

    Args:
        grad: `[B, ...]`; entries that are not finite count as zero.
        x: the points from which the step starts, in the box [0, 1].
        count: int64 `[B]`, at least 1.
        length: `[B]`.
        grade: an entry moves in proportion to this power of the difference between its gradient and
            that of the strongest entry left out; near 0 all entries move alike, and 1 is the
            projection of a long gradient step.
    """
    grad = to_scale(grad)
    strength, at = grad.flatten(1).abs(), x.flatten(1)
    movable = torch.where(grad.flatten(1) > 0, at < 1, at > 0)
    count = count.clamp(max=strength.shape[1] - 1)
    strongest = (strength * movable).topk(int(count.max()) + 1, dim=1).values
    # A hair below, so that entries of equal gradient move alike instead of not at all.
    least = _ALMOST * strongest.gather(1, count[:, None])
    weight = (strength - least).clamp_min(0).pow(grade)
    moved = (weight * movable).sum(1)
    scale = torch.where(moved > 0, length / moved.clamp_min(torch.finfo(moved.dtype).tiny), 0)
    return grad.sign() * (weight * scale[:, None]).view_as(grad)


def step_along(velocity: Tensor, x: Tensor, threat: ThreatModel, length: Tensor) -> Tensor:
    """Return a step of length `length` `[B]`, in the norm of the threat model, from `x` along `velocity`, `[B, ...]`.

    In L1 it moves only the strongest pixels, in proportion to `threat.eps`.
    """
    if threat.family != "L1":
        return per_row(length, x) * direction(velocity, threat.family)
    entries = max(round(_ENTRIES_PER_EPS * float(threat.eps)), 1)
    count = torch.full_like(length, entries, dtype=torch.int64)
    return sparse_step(velocity, x, count, length, grade=_GRADE)


class Best:
    """The best point judged so far for every example, and its score.

    A broken point beats every unbroken one. A point is broken when a deterministic defense
    misclassifies it, or a stochastic one misclassifies it in all of at least `EVIDENCE_DRAWS` draws.
    Otherwise points are ranked by the mean of sigmoid(margin) over the draws, so that one lucky draw
    does not win. Logits that are not numbers count as the largest possible margin.

    In float32 the sigmoid of a large margin is one. A transfer attack goes on beyond the boundary of
    its surrogate, and there many points tie; for a deterministic defense the loss breaks the tie.

    A maximum over noisy means is itself partly luck. So for a stochastic defense the mean is also
    taken along the trajectory, where the weight of a point falls by `_FADING` per step; and if a
    query has fewer draws than the evidence takes, the latest point is kept. On a network with noisy
    input (sd 0.1 and 0.25) that left 0.1 to 0.7 points less accuracy than the maximum at 20 draws
    per gradient, and 0.8 to 1.9 points less at one draw.

    Attributes:
        x_adv: `[B, C, H, W]`; the clean image in rows that were never judged.
        score: `[B]` in [0, 2]; 1 and above means broken, -1 never judged.
        loss: `[B]`, the loss at `x_adv`; -inf for stochastic defenses and in rows never judged.
    """

    def __init__(self, x: Tensor) -> None:
        self.x_adv = x.clone()
        self.score = torch.full((len(x),), -1.0, device=x.device)
        self.loss = torch.full_like(self.score, -torch.inf)
        self.restart()

    def restart(self) -> None:
        """Begin a new trajectory and keep the best points."""
        self._trend = torch.full_like(self.score, torch.nan)

    def update(self, oracle: Oracle, x_adv: Tensor, rows: Tensor, reply: Gradient, *, eot: int) -> Tensor:
        """Keep each judged point that is no worse than the best; return which ones were kept, `[B]`."""
        softness = torch.nan_to_num(reply.softness, nan=1.0)
        if oracle.stochastic:
            trend = self._trend[rows]
            softness = torch.where(trend.isnan(), softness, _FADING * trend + (1 - _FADING) * softness)
            self._trend[rows] = softness
        if not oracle.stochastic or oracle.draws(eot) >= EVIDENCE_DRAWS:
            score = softness + (reply.success == 1)
        else:
            score = torch.zeros_like(softness)
        loss = torch.nan_to_num(reply.loss, nan=torch.inf)
        if oracle.stochastic:  # the loss of one noisy point must not break a tie between trends: the later one wins
            loss = torch.full_like(score, -torch.inf)
        held, held_loss = self.score[rows], self.loss[rows]
        kept = (score > held) | ((score == held) & (loss >= held_loss))
        self.loss[rows] = torch.where(kept, loss, held_loss)
        # Whole images: `index_select` copies them several times faster than an index does.
        self.x_adv[rows] = torch.where(per_row(kept, x_adv), x_adv, self.x_adv.index_select(0, rows))
        self.score[rows] = torch.where(kept, score, held)
        return kept


def at_last(oracle: Oracle, x_adv: Tensor, y: Tensor, loss: Loss, rows: Tensor, *, eot: int) -> Gradient:
    """Return the answer of `Oracle.gradient` at the last point of a search, without computing a gradient.

    The gradient is zero: no step follows it.
    """
    if oracle.stochastic:  # only a gradient query returns the share of wrong draws
        return oracle.gradient(x_adv, y, loss, rows, eot=eot)
    logits = oracle.logits(x_adv, rows, y=y)
    wrong, softness = misclassified(logits, y).float(), margin(logits, y).sigmoid()
    return Gradient(loss(logits, y), torch.zeros_like(x_adv), logits, wrong, softness)


@dataclass
class Unbroken:
    """The state of the examples still under attack; every field is `[B, ...]`, or a tuple of such tensors.

    Attributes:
        rows: the rows of the oracle that these examples are, int64.
    """

    rows: Tensor

    _heard = -1  # the oracle's `breaks` at the last look: without a new one there is nothing to drop

    def __len__(self) -> int:
        return len(self.rows)

    def drop_broken(self, oracle: Oracle) -> None:
        """Drop the examples the oracle calls broken from every field, once it has looked at its queries."""
        if not oracle.caught_up or oracle.breaks == self._heard:
            return
        self._heard = oracle.breaks
        still = oracle.open(self.rows)
        if len(still) == len(self.rows):
            return
        self.keep(torch.isin(self.rows, still))

    def keep(self, mask: Tensor) -> None:
        """Keep only the examples in `mask` `[B]`, in every field."""
        for each in fields(self):
            value = getattr(self, each.name)
            setattr(self, each.name, tuple(part[mask] for part in value) if isinstance(value, tuple) else value[mask])
