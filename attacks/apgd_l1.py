"""Auto-PGD in L1 (Croce and Hein, "Mind the box", ICML 2021, arXiv:2103.01208): sparse steps.

In L1 the steepest step moves one pixel, which is soon at the edge of the box, and a step along all of
them is projected away. So the step moves the strongest pixels only, and how many of them adapts to how
many the best perturbation has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.apgd_state import State
from bench.attacks.trajectory import sparse_step
from bench.geometry import project
from bench.random import Stream
from bench.types import ThreatModel

_FIRST_SHARE = 0.2  # of the entries the first steps move
_MORE_THAN_MOVED = 1.5  # entries the best perturbation has changed, per entry a step moves
_SPARSER = 0.95  # a perturbation with fewer entries than this share of the last one's is a sparser one
_SHRINK = 1.5
_SHORTEST = 0.1  # step, in units of eps
# The published step is nearly that of grade 0. On the robust CIFAR-10 network, over six settings of 57
# examples, 25 steps of it left 127 and 25 steps of this 122; 100 steps left 122 and 121.
_GRADE = 0.25
_BETWEEN_CHECKS = 0.04  # of the steps

# Of the steps, the radius they are taken in, in units of eps (section 4.3 of the paper).
_RADII = ((3, 0.3), (2, 0.3), (1, 0.4))


@dataclass
class SparseState(State):
    """The unbroken examples of a run in L1."""

    count: Tensor  # entries a step moves, int64 `[B]`
    changed: Tensor  # entries the best perturbation had changed at the last checkpoint, int64 `[B]`

    @classmethod
    def at(
        cls, rows: Tensor, x: Tensor, y: Tensor, target: Tensor, start: Tensor, eps: float, *, resumed: bool = False
    ) -> SparseState:
        """Args as in `DenseState.at`; `resumed` where an earlier run has found `start`."""
        lowest = torch.full((len(rows),), -torch.inf, device=x.device)
        size = x[0].numel()
        changed = _changed(start, x) if resumed else torch.full_like(rows, size)
        count = _moved(changed) if resumed else torch.full_like(rows, math.ceil(_FIRST_SHARE * size))
        return cls(
            rows,
            x,
            y,
            target,
            x_adv=start,
            grad=torch.zeros_like(x),
            loss=lowest,
            x_best=start,
            grad_best=torch.zeros_like(x),
            loss_best=lowest,
            length=torch.full_like(lowest, eps),
            count=count,
            changed=changed,
        )

    def move(self, threat: ThreatModel, *, first: bool) -> None:
        """One step of length `length` along the `count` strongest entries."""
        step = sparse_step(self.grad, self.x_adv, self.count, self.length, grade=_GRADE)
        self.x_adv = project(self.x_adv + step, self.x, threat)

    def review(self, step: int, steps: int, rho: float, threat: ThreatModel) -> None:
        """After `step` of `steps`: see whether a checkpoint is due, which is every 4 % of them."""
        if step > 0 and step % max(int(_BETWEEN_CHECKS * steps), 1) == 0:
            self.check(threat)

    def check(self, threat: ThreatModel) -> None:
        """At a checkpoint: adapt how many entries a step moves, and its length.

        Where the best perturbation has become sparser, the search goes back to it with the longest
        step; elsewhere the step shrinks.
        """
        changed = _changed(self.x_best, self.x)
        sparser = changed < _SPARSER * self.changed
        eps = float(threat.eps)
        shorter = (self.length / _SHRINK).clamp_min(_SHORTEST * eps)
        self.length = torch.where(sparser, torch.full_like(shorter, eps), shorter)
        self.count, self.changed = _moved(changed), changed
        self.go_back(sparser)


def start(x: Tensor, stream: Stream, threat: ThreatModel) -> Tensor:
    """Normal noise, projected: a perturbation of few entries, on the surface of the ball."""
    return project(x + stream.normal(*x.shape[1:]), x, threat)


def radii(threat: ThreatModel, steps: int) -> list[tuple[ThreatModel, int]]:
    """Balls of 3 eps, 2 eps and eps, with 30 %, 30 % and 40 % of the steps.

    A perturbation found in a larger ball and projected is a better start than a random one.
    """
    plan, left = [], steps
    for factor, share in _RADII:
        some = left if factor == 1 else min(math.ceil(share * steps), left)
        plan.append((ThreatModel(threat.family, threat.eps * factor), some))
        left -= some
    return plan


def _changed(x_adv: Tensor, x: Tensor) -> Tensor:
    return (x_adv != x).flatten(1).sum(1)


def _moved(changed: Tensor) -> Tensor:
    return (changed / _MORE_THAN_MOVED).long().clamp_min(1)
