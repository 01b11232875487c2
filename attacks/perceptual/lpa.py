"""The Lagrangian perceptual attack (Laidlaw, Singla and Feizi, ICLR 2021, arXiv:2006.12655, section 4, appendix A.2).

The bound becomes a penalty: the loss minus lambda times the excess of the distance over eps. Lambda starts small and
grows tenfold after every round that ends outside the ball.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import margin
from bench.attacks.perceptual.ball import Ball, Perceptual
from bench.attacks.search import Best, Unbroken, direction, require_at_least
from bench.errors import BenchError
from bench.oracle.answers import Gradient
from bench.oracle.geometry import per_row
from bench.oracle.oracle import Oracle

_STANDING = 1e-8  # added to a perceptual speed, which may be zero, before dividing by it


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor  # anywhere in the box
    held: Tensor  # the last point known to be within the ball
    weight: Tensor  # lambda of the paper
    inside: Tensor  # whether the last queried point was in the ball, bool


@dataclass(frozen=True)
class LPA(Perceptual):
    """Ascent of the penalized margin in steps of known perceptual length; only points in the ball are judged.

    The published settings are 5 rounds of 40 steps, lambda from 0.01, steps that fall to a tenth in every round,
    finite differences of 0.1, a start of N(0, 0.01), and the margin up to 1. This form is stronger than the published
    one in three ways, which together left 9 to 23 points less accuracy on digits: lambda weighs gradients of unit
    length, so that it means the same for logits of any scale; each round ends with its point projected back into the
    ball and judged, and the next begins there; and steps begin at 0.3 eps instead of eps.

    Attributes:
        steps: gradient steps per round.
        rounds: number of rounds; lambda grows tenfold after one that ends outside the ball.
        step_size: perceptual length of the first step of a round in units of eps; the last is a tenth of it.
        weight: lambda of the first round, relative to gradients of unit length.
        h: length of a finite difference in the image, in L2.
        kappa: the margin, in logits, above which the loss is flat.
        looks: forwards per projection.
        eot, n_restarts, network: as in `Perceptual`.
    """

    rounds: int = 5
    step_size: float = 0.3
    weight: float = 0.01
    h: float = 0.1
    kappa: float = 1.0
    looks: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "rounds", "looks")
        for name in ("step_size", "weight", "h"):
            if not getattr(self, name) > 0:
                raise BenchError(f"LPA: {name}={getattr(self, name)} must be above 0")

    def _run(self, oracle: Oracle, ball: Ball, rows: Tensor, x: Tensor, y: Tensor, best: Best, start: Tensor) -> None:
        light = torch.full((len(rows),), self.weight, device=x.device)
        state = _State(rows, x, y, start, x, light, torch.zeros_like(rows, dtype=torch.bool))
        for _ in range(self.rounds):
            for step in range(self.steps):
                length = ball.eps * self.step_size * 0.1 ** (step / self.steps)
                self._step(oracle, ball, state, length, best)
                if not len(state):
                    return
            state.weight = torch.where(state.inside, state.weight, 10 * state.weight)
            state.held = ball.project(state.x_adv, state.held, state.rows, self.looks)
            state.x_adv = state.held
            reply = oracle.gradient(state.held, state.y, self._loss, state.rows, eot=self.eot)
            best.update(oracle, state.held, state.rows, reply, eot=self.eot)
            state.drop_broken(oracle)
            if not len(state):
                return

    def _step(self, oracle: Oracle, ball: Ball, state: _State, length: float, best: Best) -> None:
        """Judge the points in the ball, and take one step from every point."""
        point = state.x_adv.detach().requires_grad_()
        with torch.enable_grad():
            here = ball.activations(point, state.rows)
            far = ball.apart(here, state.rows)
            (away,) = torch.autograd.grad(far.sum(), point)
        point, here = point.detach(), here.detach()
        state.inside = ball.holds(far.detach())
        reply = oracle.gradient(point, state.y, self._loss, state.rows, eot=self.eot, inside=state.inside)
        judged = Gradient(*(part[state.inside] for part in reply))
        best.update(oracle, point[state.inside], state.rows[state.inside], judged, eot=self.eot)
        penalty = torch.where(state.inside, 0, state.weight)
        ahead = direction(direction(reply.grad, "L2") - per_row(penalty, away) * direction(away, "L2"), "L2")
        with torch.no_grad():
            there = ball.activations(point + self.h * ahead, state.rows)
        # By how much the activations change per unit of the step: it turns a perceptual length into one in the image.
        speed = (there - here).norm(dim=1) / self.h
        state.x_adv = (point + per_row(length / (speed + _STANDING), point) * ahead).clamp(0, 1)
        state.drop_broken(oracle)

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return margin(logits, y).clamp_max(self.kappa)
