"""The state of a run of Auto-PGD in Linf and L2 (Croce and Hein, ICML 2020, arXiv:2003.01690): step, checkpoints, best.

The constants are those of section 3 of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from bench.attacks.search import Unbroken, direction
from bench.oracle.geometry import norm, per_row, project
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

_MOMENTUM = 0.75  # alpha of the paper: weight of the projected gradient step; the rest repeats the last move


@dataclass
class State(Unbroken):
    """The unbroken examples of one run; losses are means over the draws."""

    x: Tensor
    y: Tensor
    target: Tensor  # the class aimed at; in an untargeted attack the true one
    x_adv: Tensor
    grad: Tensor
    loss: Tensor
    x_best: Tensor
    grad_best: Tensor
    loss_best: Tensor
    length: Tensor  # of a step, `[B]`

    def learn(self, loss: Tensor, grad: Tensor) -> None:
        """Record the answer of the defense at `x_adv`."""
        self.loss, self.grad = torch.nan_to_num(loss, nan=torch.inf), grad
        better = self.loss > self.loss_best
        wide = per_row(better, self.x)
        self.x_best = torch.where(wide, self.x_adv, self.x_best)
        self.grad_best = torch.where(wide, grad, self.grad_best)
        self.loss_best = torch.where(better, self.loss, self.loss_best)

    def go_back(self, rows: Tensor) -> None:
        """Return to the best point in the rows `rows`, bool `[B]`."""
        wide = per_row(rows, self.x)
        self.x_adv = torch.where(wide, self.x_best, self.x_adv)
        self.grad = torch.where(wide, self.grad_best, self.grad)


@dataclass
class DenseState(State):
    """The state of Auto-PGD as published for Linf and L2 (Croce and Hein, ICML 2020, arXiv:2003.01690)."""

    x_last: Tensor
    loss_best_at_check: Tensor
    rises: Tensor  # steps since the last checkpoint that raised the loss
    halved: Tensor  # whether the last checkpoint halved the step

    @classmethod
    def at(cls, rows: Tensor, x: Tensor, y: Tensor, target: Tensor, start: Tensor, eps: float) -> Self:
        lowest = torch.full((len(rows),), -torch.inf, device=x.device)
        return cls(
            rows,
            x,
            y,
            target,
            x_adv=start,
            x_last=start,
            grad=torch.zeros_like(x),
            loss=-lowest,  # so that the start is no rise: rises are counted between judged points
            x_best=start,
            grad_best=torch.zeros_like(x),
            loss_best=lowest,
            loss_best_at_check=lowest,
            rises=torch.zeros_like(rows),
            # The first checkpoint has no earlier one to compare with: only too few rises may halve the step there.
            halved=torch.ones_like(rows, dtype=torch.bool),
            length=torch.full_like(lowest, 2 * eps),
        )

    def learn(self, loss: Tensor, grad: Tensor) -> None:
        self.rises = self.rises + (torch.nan_to_num(loss, nan=torch.inf) > self.loss)
        super().learn(loss, grad)

    def move(self, threat: ThreatModel, *, first: bool) -> None:
        """Take one step of length `length`, mixed with the last move."""
        step = per_row(self.length, self.x) * direction(self.grad, threat.family)
        ahead = project(self.x_adv + step, self.x, threat)
        if not first:
            ahead = self.x_adv + _MOMENTUM * (ahead - self.x_adv) + (1 - _MOMENTUM) * (self.x_adv - self.x_last)
            ahead = project(ahead, self.x, threat)
        self.x_last, self.x_adv = self.x_adv, ahead

    def review(self, step: int, steps: int, rho: float, threat: ThreatModel) -> None:
        """Run the checkpoint that is due after `step` of `steps`, if there is one."""
        checks = checkpoints(steps)
        if step in checks:
            self.check(checks[step], rho)

    def check(self, steps: int, rho: float) -> None:
        """Halve the step and return to the best point where the search stalls, `steps` after the last checkpoint.

        A search stalls if too few steps raised the loss, or if neither the step nor the best loss has
        changed since the last checkpoint. The first condition holds at equality, too, as in the
        published code.
        """
        stuck = ~self.halved & (self.loss_best <= self.loss_best_at_check)
        self.halved = stuck | (self.rises <= rho * steps)
        self.length = torch.where(self.halved, self.length / 2, self.length)
        self.go_back(self.halved)
        self.loss_best_at_check = self.loss_best
        self.rises = torch.zeros_like(self.rises)


def checkpoints(steps: int) -> dict[int, int]:
    """Return the steps after which the step size is checked, each with its distance from the previous check.

    The first check comes after 22 % of the steps; each distance is 3 % of the steps shorter than the
    one before, and at least 6 %.
    """
    gap, shrink, least = (max(int(part * steps), 1) for part in (0.22, 0.03, 0.06))
    found, at = {}, gap
    while at <= steps:
        found[at] = gap
        gap = max(gap - shrink, least)
        at += gap
    return found


def start(x: Tensor, stream: Stream, threat: ThreatModel) -> Tensor:
    """Return a random point on the surface of the ball, clamped to the box, as in AutoAttack."""
    shape = x.shape[1:]
    delta = 2 * stream.uniform(*shape) - 1 if threat.family == "Linf" else stream.normal(*shape)
    length = per_row(norm(delta, threat.family), delta).clamp_min(1e-12)
    return project(x + float(threat.eps) * delta / length, x, threat)
