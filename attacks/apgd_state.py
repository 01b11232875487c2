"""Where every example stands in a run of Auto-PGD in Linf and L2: the step, the checkpoint, the best point."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.trajectory import Unbroken, direction
from bench.geometry import norm, per_row, project
from bench.random import Stream
from bench.types import ThreatModel

_MOMENTUM = 0.75  # weight of the projected gradient step; the rest repeats the last move


@dataclass
class State(Unbroken):
    """The unbroken examples; the losses are those of this run, means over the draws."""

    x: Tensor
    y: Tensor
    target: Tensor  # the class aimed at; the true one where the attack is untargeted
    x_adv: Tensor
    grad: Tensor
    loss: Tensor
    x_best: Tensor
    grad_best: Tensor
    loss_best: Tensor
    length: Tensor  # of a step, `[B]`

    def learn(self, loss: Tensor, grad: Tensor) -> None:
        """Take in the answer of the defense at `x_adv`."""
        self.loss, self.grad = torch.nan_to_num(loss, nan=torch.inf), grad
        better = self.loss > self.loss_best
        wide = per_row(better, self.x)
        self.x_best = torch.where(wide, self.x_adv, self.x_best)
        self.grad_best = torch.where(wide, grad, self.grad_best)
        self.loss_best = torch.where(better, self.loss, self.loss_best)

    def go_back(self, rows: Tensor) -> None:
        """Return to the best point where `rows` `[B]` says so."""
        wide = per_row(rows, self.x)
        self.x_adv = torch.where(wide, self.x_best, self.x_adv)
        self.grad = torch.where(wide, self.grad_best, self.grad)


@dataclass
class DenseState(State):
    """Auto-PGD as published for Linf and L2 (Croce and Hein, ICML 2020, arXiv:2003.01690)."""

    x_last: Tensor
    loss_best_at_check: Tensor
    rises: Tensor  # steps since the last checkpoint that raised the loss
    halved: Tensor  # whether the last checkpoint halved the step

    @classmethod
    def at(cls, rows: Tensor, x: Tensor, y: Tensor, target: Tensor, start: Tensor, eps: float) -> DenseState:
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
            halved=torch.ones_like(rows, dtype=torch.bool),
            length=torch.full_like(lowest, 2 * eps),
        )

    def learn(self, loss: Tensor, grad: Tensor) -> None:
        self.rises = self.rises + (torch.nan_to_num(loss, nan=torch.inf) > self.loss)
        super().learn(loss, grad)

    def move(self, threat: ThreatModel, *, first: bool) -> None:
        """One step of length `length`, mixed with the last move."""
        step = per_row(self.length, self.x) * direction(self.grad, threat.family)
        ahead = project(self.x_adv + step, self.x, threat)
        if not first:
            ahead = self.x_adv + _MOMENTUM * (ahead - self.x_adv) + (1 - _MOMENTUM) * (self.x_adv - self.x_last)
            ahead = project(ahead, self.x, threat)
        self.x_last, self.x_adv = self.x_adv, ahead

    def review(self, step: int, steps: int, rho: float, threat: ThreatModel) -> None:
        """After `step` of `steps`: see whether a checkpoint is due."""
        checks = checkpoints(steps)
        if step in checks:
            self.check(checks[step], rho)

    def check(self, steps: int, rho: float) -> None:
        """At a checkpoint `steps` after the last: halve the step and return to the best point.

        That happens where too few steps raised the loss, or where neither the step nor the best
        loss has changed since the last checkpoint. The first condition holds at equality, too, as
        in the published code.
        """
        stuck = ~self.halved & (self.loss_best <= self.loss_best_at_check)
        self.halved = stuck | (self.rises <= rho * steps)
        self.length = torch.where(self.halved, self.length / 2, self.length)
        self.go_back(self.halved)
        self.loss_best_at_check = self.loss_best
        self.rises = torch.zeros_like(self.rises)


def checkpoints(steps: int) -> dict[int, int]:
    """The steps after which the step size is checked, each with its distance from the last one.

    The first comes after 22 % of the steps; each distance is 3 % of the steps shorter than the one
    before, and at least 6 %.
    """
    gap, shrink, least = (max(int(part * steps), 1) for part in (0.22, 0.03, 0.06))
    found, at = {}, gap
    while at <= steps:
        found[at] = gap
        gap = max(gap - shrink, least)
        at += gap
    return found


def start(x: Tensor, stream: Stream, threat: ThreatModel) -> Tensor:
    """A random point on the surface of the ball, clamped to the box, as AutoAttack starts."""
    shape = x.shape[1:]
    delta = 2 * stream.uniform(*shape) - 1 if threat.family == "Linf" else stream.normal(*shape)
    length = per_row(norm(delta, threat.family), delta).clamp_min(1e-12)
    return project(x + float(threat.eps) * delta / length, x, threat)
