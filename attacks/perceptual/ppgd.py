"""Perceptual PGD (Laidlaw, Singla and Feizi, ICLR 2021, arXiv:2006.12655, section 4 and appendix A.1).

The length of a step is the length of the change that it makes to the activations. With J the Jacobian of the
normalized activations and g the gradient of the loss, the best small step raises the loss most among the steps that
move the activations by a given length: it solves J^T J d = g up to a factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.perceptual.ball import Ball, Perceptual
from bench.attacks.search import Best, Unbroken, direction, require_at_least, require_loss
from bench.errors import BenchError
from bench.oracle.geometry import per_row
from bench.oracle.oracle import Oracle


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor
    grad: Tensor


@dataclass(frozen=True)
class PPGD(Perceptual):
    """Ascent of the margin in steps of known perceptual length, each projected back into the ball.

    The published settings are 40 steps, 5 iterations of conjugate gradients, finite differences of 1e-3, and a start
    of N(0, 0.01). Points outside the ball are projected back towards the image. Steps begin at 0.3 eps and fall to a
    tenth of it, while the published ones are eps / 20 throughout: on digits that left 3 to 12 points less accuracy.

    Attributes:
        steps: gradient steps per restart.
        step_size: perceptual length of the first step in units of eps; it falls to a tenth of that over a run.
        cg_steps: iterations of conjugate gradients per step.
        h: length of a finite difference in the image, in L2.
        looks: forwards per projection.
        loss: `"ce"`, `"margin"` or `"dlr"`.
        eot, n_restarts, network: as in `Perceptual`.
    """

    step_size: float = 0.3
    cg_steps: int = 5
    h: float = 1e-3
    looks: int = 3
    loss: str = "margin"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "cg_steps", "looks")
        require_loss(self.loss)
        if not (self.step_size > 0 and self.h > 0):
            raise BenchError(f"PPGD: step_size={self.step_size} and h={self.h} must be above 0")

    def _run(self, oracle: Oracle, ball: Ball, rows: Tensor, x: Tensor, y: Tensor, best: Best, start: Tensor) -> None:
        state = _State(rows, x, y, ball.project(start, x, rows, self.looks), torch.zeros_like(x))
        for step in range(self.steps + 1):
            reply = oracle.gradient(state.x_adv, state.y, LOSSES[self.loss], state.rows, eot=self.eot)
            best.update(oracle, state.x_adv, state.rows, reply, eot=self.eot)
            state.grad = reply.grad
            state.drop_broken(oracle)
            if step == self.steps or not len(state):  # after the last step its point is judged, too
                return
            length = ball.eps * self.step_size * 0.1 ** (step / self.steps)
            move = self.step(ball, state.x_adv, state.rows, state.grad)
            ahead = (state.x_adv + length * move).clamp(0, 1)
            state.x_adv = ball.project(ahead, state.x_adv, state.rows, self.looks)

    def step(self, ball: Ball, x_adv: Tensor, rows: Tensor, grad: Tensor) -> Tensor:
        """Return the step that raises the loss most among those that move the activations by 1, to first order.

        Args:
            ball: the ball whose distance measures the step.
            x_adv: the points from which to step, `[B, C, H, W]`.
            rows: the rows of the ball to which they belong.
            grad: of the loss at `x_adv`.
        """
        point = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            here = ball.activations(point, rows)

        def metric(along: Tensor) -> Tensor:
            """Return J^T J times `along`: J by a finite difference, J^T by a backward pass."""
            length = along.flatten(1).norm(dim=1).clamp_min(torch.finfo(here.dtype).tiny)
            with torch.no_grad():
                there = ball.activations(point + per_row(self.h / length, point) * along, rows)
                change = (there - here) * (length / self.h)[:, None]
            (product,) = torch.autograd.grad(here, point, change, retain_graph=True)
            return product

        step, length = conjugate_gradient(metric, direction(grad, "L2"), self.cg_steps)
        return torch.nan_to_num(step / per_row(length.clamp_min(torch.finfo(here.dtype).tiny), step))


def conjugate_gradient(product: Callable[[Tensor], Tensor], right: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Solve A d = `right` for each row, A symmetric and positive semidefinite.

    Args:
        product: A times each row of a tensor of the shape of `right`.
        right: `[B, ...]`.
        iterations: products with A.

    Returns:
        d, of the shape of `right`, and sqrt(d^T A d), `[B]`.
    """

    def dot(left: Tensor, other: Tensor) -> Tensor:
        return (left * other).flatten(1).sum(1)

    solution, image = torch.zeros_like(right), torch.zeros_like(right)
    residual, ahead = right, right
    size = dot(right, right)
    for _ in range(iterations):
        bent = product(ahead)
        curve = dot(ahead, bent)
        # A solved row, or one whose direction A maps to zero, stays as it is.
        alive = (curve > 0) & (size > 0)
        part = per_row(torch.where(alive, size / curve, 0), right)
        solution, image = solution + part * ahead, image + part * bent
        residual = residual - part * bent
        before, size = size, dot(residual, residual)
        ahead = residual + per_row(torch.where(alive, size / before, 0), right) * ahead
    return solution, dot(solution, image).clamp_min(0).sqrt()
