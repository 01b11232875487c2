"""Auto-PGD (Croce and Hein, ICML 2020, arXiv:2003.01690) with the hyper-parameters of AutoAttack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES, dlr_targeted
from bench.attacks.trajectory import (
    Best,
    Unbroken,
    direction,
    require_at_least,
    require_family,
    require_loss,
)
from bench.errors import BenchError
from bench.geometry import norm, per_row, project
from bench.oracle import Loss, Oracle
from bench.random import Stream
from bench.types import ThreatModel

_FAMILIES = ("Linf", "L2")
_MOMENTUM = 0.75  # weight of the projected gradient step; the rest repeats the last move


@dataclass
class _State(Unbroken):
    """Where every unbroken example stands; the losses are those of this run, means over the draws."""

    x: Tensor
    y: Tensor
    target: Tensor  # the class aimed at; the true one where the attack is untargeted
    x_adv: Tensor
    x_last: Tensor
    grad: Tensor
    loss: Tensor
    x_best: Tensor
    grad_best: Tensor
    loss_best: Tensor
    loss_best_at_check: Tensor
    rises: Tensor  # steps since the last checkpoint that raised the loss
    halved: Tensor  # whether the last checkpoint halved the step
    length: Tensor  # of a step

    @classmethod
    def at(cls, rows: Tensor, x: Tensor, y: Tensor, target: Tensor, start: Tensor, eps: float) -> _State:
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
        """Take in the answer of the defense at `x_adv`."""
        loss = torch.nan_to_num(loss, nan=torch.inf)
        self.rises = self.rises + (loss > self.loss)
        self.loss, self.grad = loss, grad
        better = loss > self.loss_best
        wide = per_row(better, self.x)
        self.x_best = torch.where(wide, self.x_adv, self.x_best)
        self.grad_best = torch.where(wide, grad, self.grad_best)
        self.loss_best = torch.where(better, loss, self.loss_best)

    def move(self, threat: ThreatModel, *, first: bool) -> None:
        """One step of length `length`, mixed with the last move."""
        step = per_row(self.length, self.x) * direction(self.grad, threat.family)
        ahead = project(self.x_adv + step, self.x, threat)
        if not first:
            ahead = self.x_adv + _MOMENTUM * (ahead - self.x_adv) + (1 - _MOMENTUM) * (self.x_adv - self.x_last)
            ahead = project(ahead, self.x, threat)
        self.x_last, self.x_adv = self.x_adv, ahead

    def check(self, steps: int, rho: float) -> None:
        """At a checkpoint `steps` after the last: halve the step and return to the best point.

        That happens where too few steps raised the loss, or where neither the step nor the best
        loss has changed since the last checkpoint. The first condition holds at equality, too, as
        in the published code.
        """
        stuck = ~self.halved & (self.loss_best <= self.loss_best_at_check)
        self.halved = stuck | (self.rises <= rho * steps)
        self.length = torch.where(self.halved, self.length / 2, self.length)
        wide = per_row(self.halved, self.x)
        self.x_adv = torch.where(wide, self.x_best, self.x_adv)
        self.grad = torch.where(wide, self.grad_best, self.grad)
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


def _start(x: Tensor, stream: Stream, threat: ThreatModel) -> Tensor:
    """A random point on the surface of the ball, clamped to the box, as AutoAttack starts."""
    shape = x.shape[1:]
    delta = 2 * stream.uniform(*shape) - 1 if threat.family == "Linf" else stream.normal(*shape)
    length = per_row(norm(delta, threat.family), delta).clamp_min(1e-12)
    return project(x + float(threat.eps) * delta / length, x, threat)


def _ascend(
    oracle: Oracle,
    state: _State,
    threat: ThreatModel,
    best: Best,
    loss_towards: Callable[[Tensor], Loss],
    attack: APGD | APGDTargeted,
) -> None:
    """One run from one start: `attack.steps` moves, every point judged, the last one too."""
    best.restart()
    checks = checkpoints(attack.steps)
    for step in range(attack.steps + 1):
        reply = oracle.gradient(state.x_adv, state.y, loss_towards(state.target), state.rows, eot=attack.eot)
        best.update(oracle, state.x_adv, state.rows, reply, eot=attack.eot)
        state.learn(reply.loss, reply.grad)
        state.drop_broken(oracle)
        if step == attack.steps or not len(state):
            return
        if step in checks:
            state.check(checks[step], attack.rho)
        state.move(threat, first=step == 0)


def _require_sane(attack: APGD | APGDTargeted) -> None:
    require_at_least(attack, 1, "steps", "n_restarts", "eot")
    if not 0 < attack.rho < 1:
        raise BenchError(f"{type(attack).__name__}: rho={attack.rho} must be between 0 and 1")


@dataclass(frozen=True)
class APGD:
    """Untargeted Auto-PGD on the cross-entropy (`ce`), the difference of logits ratio (`dlr`) or the `margin`.

    The step starts at 2 eps and halves where progress stalls. With fewer than three classes the
    DLR loss is not defined and the margin takes its place.

    Attributes:
        loss: `"ce"`, `"dlr"` or `"margin"`.
        steps: gradient steps per restart.
        n_restarts: independent runs; a later one attacks what the earlier ones left.
        eot: draws per gradient of a stochastic defense.
        rho: share of steps that must raise the loss for the step size to stay.
    """

    loss: str = "ce"
    steps: int = 100
    n_restarts: int = 1
    eot: int = 1
    rho: float = 0.75

    def __post_init__(self) -> None:
        _require_sane(self)
        require_loss(self.loss)

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, _FAMILIES)
        best = Best(x)
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if len(rows):
                start = _start(x[rows], stream.at("start", restart).rows(rows), threat)
                state = _State.at(rows, x[rows], y[rows], y[rows], start, float(threat.eps))
                _ascend(oracle, state, threat, best, lambda _: LOSSES[self.loss], self)
        return best.x_adv


@dataclass(frozen=True)
class APGDTargeted:
    """Auto-PGD on the targeted DLR loss, once for each of the most likely wrong classes.

    Targets are taken in the order of the logits of the image. With fewer classes than targets every
    wrong class has its turn; with fewer than four the targeted DLR loss is not defined and the
    margin of the target over the true class takes its place.

    Attributes:
        steps: gradient steps per target and restart.
        targets: how many wrong classes to aim at.
        n_restarts: independent runs per target.
        eot: draws per gradient of a stochastic defense.
        rho: share of steps that must raise the loss for the step size to stay.
    """

    steps: int = 100
    targets: int = 9
    n_restarts: int = 1
    eot: int = 1
    rho: float = 0.75

    def __post_init__(self) -> None:
        _require_sane(self)
        require_at_least(self, 1, "targets")

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, _FAMILIES)
        best = Best(x)
        rows = torch.arange(len(x), device=x.device)
        logits = torch.nan_to_num(oracle.logits(x, rows, eot=self.eot), nan=torch.inf)
        order = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
        for rank in range(min(self.targets, logits.shape[1] - 1)):
            for restart in range(self.n_restarts):
                rows = oracle.open(rows)
                if len(rows):
                    draws = stream.at("start", rank, restart).rows(rows)
                    start = _start(x[rows], draws, threat)
                    state = _State.at(rows, x[rows], y[rows], order[rows, rank], start, float(threat.eps))
                    _ascend(oracle, state, threat, best, dlr_targeted, self)
        return best.x_adv
