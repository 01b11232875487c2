"""Auto-PGD in L1 (Croce and Hein, "Mind the box", ICML 2021, arXiv:2103.01208): sparse steps.

In L1 the steepest step moves a single pixel, which soon reaches the edge of the box, and a step along
all pixels is lost in the projection. So a step moves only the strongest pixels, and their number adapts
to the number of pixels that the best perturbation has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.lp.apgd_dense import State
from bench.attacks.search import sparse_step
from bench.oracle.geometry import project
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

_FIRST_SHARE = 0.2  # of the entries, which the first steps move
_MORE_THAN_MOVED = 1.5  # entries the best perturbation has changed, per entry a step moves
_SPARSER = 0.95  # below this share of the entries at the last checkpoint a perturbation counts as sparser
_SHRINK = 1.5  # by which the step is divided at a checkpoint without progress
_SHORTEST = 0.1  # step, in units of eps
# The published step is nearly that of grade 0. On the robust CIFAR-10 network, over six settings of 57
# examples, 25 steps of it left 127 and 25 steps of this 122; 100 steps left 122 and 121.
_GRADE = 0.25
_BETWEEN_CHECKS = 0.04  # of the steps

# Radius in units of eps, and the share of the steps taken in that ball (section 4.3 of the paper).
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
        """Return the state at `start`, with the arguments of `DenseState.at`; `resumed` if an earlier run found it."""
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
        """Take one step of length `length` along the `count` strongest entries."""
        step = sparse_step(self.grad, self.x_adv, self.count, self.length, grade=_GRADE)
        self.x_adv = project(self.x_adv + step, self.x, threat)

    def review(self, step: int, steps: int, rho: float, threat: ThreatModel) -> None:
        """Run the checkpoint after `step` of `steps` if one is due: every 4 % of the steps."""
        if step > 0 and step % max(int(_BETWEEN_CHECKS * steps), 1) == 0:
            self.check(threat)

    def check(self, threat: ThreatModel) -> None:
        """Adapt the number of entries that a step moves, and its length.

        If the best perturbation has become sparser, the search returns to it with the longest step;
        otherwise the step shrinks.
        """
        changed = _changed(self.x_best, self.x)
        sparser = changed < _SPARSER * self.changed
        eps = float(threat.eps)
        shorter = (self.length / _SHRINK).clamp_min(_SHORTEST * eps)
        self.length = torch.where(sparser, torch.full_like(shorter, eps), shorter)
        self.count, self.changed = _moved(changed), changed
        self.go_back(sparser)


def start(x: Tensor, stream: Stream, threat: ThreatModel) -> Tensor:
    """Return projected normal noise: a perturbation of few entries, on the surface of the ball."""
    return project(x + stream.normal(*x.shape[1:]), x, threat)


def radii(threat: ThreatModel, steps: int) -> list[tuple[ThreatModel, int]]:
    """Return the balls of 3 eps, 2 eps and eps, with 30 %, 30 % and 40 % of the steps.

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
