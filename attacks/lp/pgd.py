"""Projected gradient descent (Madry et al., ICLR 2018, arXiv:1706.06083), with EOT and momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.search import (
    Best,
    Unbroken,
    at_last,
    require_at_least,
    require_family,
    require_loss,
    require_schedule,
    scheduled,
    step_along,
)
from bench.oracle.direct import on_models
from bench.oracle.geometry import norm, per_row, project, random_in_ball
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import LP_FAMILIES, ThreatModel


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor
    velocity: Tensor


@dataclass(frozen=True)
class PGD:
    """Ascent of a loss in steps of fixed length, projected onto the ball.

    The attack judges every iterate, the start and the last one too, and returns the best one. With
    `eot` above 1 it follows the gradient averaged over the draws of a stochastic defense (Athalye et
    al., arXiv:1802.00420), as Lee and Kim (arXiv:2303.09051) do. On the `margin` it is the bounded
    form of Carlini and Wagner's attack (arXiv:1608.04644, f6 without a bound). In L1 a step moves
    only the strongest pixels (`step_along`).

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        momentum: decay of the sum of gradients that gives the direction (arXiv:1710.06081); 0 is
            plain PGD.
        random_start: start at a random point of the ball instead of at the image.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: `"ce"` (cross-entropy), `"margin"`, `"dlr"`, `"pm"` (of probabilities) or `"mean"` (over wrong classes).
        schedule: of the length of a step along each run: `"constant"`, or `"cosine"`, which falls from `step_size`
            towards 0.
    """

    steps: int = 20
    step_size: float = 0.25
    eot: int = 1
    momentum: float = 0.0
    random_start: bool = True
    n_restarts: int = 1
    loss: str = "ce"
    schedule: str = "constant"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "eot", "n_restarts")
        require_loss(self.loss)
        require_schedule(self.schedule)

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, LP_FAMILIES)
        best = Best(x)
        for restart in range(self.n_restarts):
            start = x
            if self.random_start:
                start = random_in_ball(x, stream.at("start", restart).uniform(*x.shape[1:]), threat)
            state = _State(torch.arange(len(x), device=x.device), x, y, start, torch.zeros_like(x))
            state.drop_broken(oracle)
            self._run(oracle, state, threat, best)
        return best.x_adv

    def _run(self, oracle: Oracle, state: _State, threat: ThreatModel, best: Best) -> None:
        best.restart()
        for step in range(self.steps + 1):
            if not len(state):
                return
            loss, last = LOSSES[self.loss], step == self.steps
            if last:  # judged, but no step follows, so its gradient would be wasted
                reply = at_last(oracle, state.x_adv, state.y, loss, state.rows, eot=self.eot)
            else:
                reply = oracle.gradient(state.x_adv, state.y, loss, state.rows, eot=self.eot)
            best.update(oracle, state.x_adv, state.rows, reply, eot=self.eot)
            if last:
                return
            state.velocity = self._pushed(state.velocity, reply.grad, threat.family)
            state.x_adv = project(state.x_adv + self._step(state, threat, step), state.x, threat)
            state.drop_broken(oracle)

    def _pushed(self, velocity: Tensor, grad: Tensor, family: str) -> Tensor:
        if not self.momentum and family == "Linf":
            return grad  # only its signs count, so no scaling is needed
        return self.momentum * velocity + _unit(grad)

    def _step(self, state: _State, threat: ThreatModel, step: int) -> Tensor:
        size = scheduled(self.step_size, self.schedule, step / self.steps)
        length = torch.full_like(state.rows, size * float(threat.eps), dtype=state.x.dtype)
        return step_along(state.velocity, state.x_adv, threat, length)


def _unit(grad: Tensor) -> Tensor:
    """Return each row scaled to a mean absolute value of one, so that momentum weighs all steps alike."""
    grad = torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0)
    size = norm(grad, "L1") / grad[0].numel()
    return grad / per_row(torch.where(size > 0, size, 1), grad)
