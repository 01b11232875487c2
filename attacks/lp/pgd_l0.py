"""Projected gradient descent on the number of pixels (Croce and Hein, ICCV 2019, arXiv:1909.05040, PGD_0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.search import Best, Unbroken, at_last, require_at_least, require_family, require_loss, to_scale
from bench.errors import BenchError
from bench.oracle.direct import on_models
from bench.oracle.geometry import project
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import SPARSE, ThreatModel

_LAST = 0.05  # length of the last step of a run, in units of the first


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor


@dataclass(frozen=True)
class PGDL0:
    """Gradient steps, after each of which the K pixels that moved furthest stay; many short runs from random pixels.

    The paper's runs take steps of one length, along gradients of an L1 norm of one. Here a gradient has a largest entry
    of one, and steps are long at first: a step much longer than the box is wide ranks the pixels by how much the loss
    would gain if they moved all the way, which on a linear classifier is the optimum in one step. Short steps then
    choose among colors. Which pixels stay is settled within a few steps, so restarts count for more than steps do: on
    digits (AT, K = 2), 200 passes left 60 % right as 4 runs of 50 steps, 48 % as 10 of 20, and 33 % as 40 of 5.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of the first step along the pixel of the largest gradient, in pixel values.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs; a later one attacks the examples that the earlier ones left.
        loss: as in `PGD`.
    """

    families: ClassVar[tuple[str, ...]] = (SPARSE,)

    steps: int = 5
    step_size: float = 30.0
    eot: int = 1
    n_restarts: int = 40
    loss: str = "margin"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "eot", "n_restarts")
        require_loss(self.loss)
        if not self.step_size > 0:
            raise BenchError(f"PGDL0: step_size={self.step_size} must be above 0")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, self.families)
        best, rows = Best(x), torch.arange(len(x), device=x.device)
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if not len(rows):
                break
            begin = x[rows]
            if restart:  # the first run starts at the image, where the gradient says most
                noise = 2 * stream.at("start", restart).rows(rows).uniform(*x.shape[1:]) - 1
                begin = project(begin + noise, begin, threat)
            best.restart()
            self._run(oracle, _State(rows, x[rows], y[rows], begin), threat, best)
        return best.x_adv

    def _run(self, oracle: Oracle, state: _State, threat: ThreatModel, best: Best) -> None:
        loss = LOSSES[self.loss]
        for step in range(self.steps):
            reply = oracle.gradient(state.x_adv, state.y, loss, state.rows, eot=self.eot)
            best.update(oracle, state.x_adv, state.rows, reply, eot=self.eot)
            length = self.step_size * _LAST ** (step / self.steps)
            state.x_adv = project(state.x_adv + length * to_scale(reply.grad), state.x, threat)
            state.drop_broken(oracle)
            if not len(state):
                return
        reply = at_last(oracle, state.x_adv, state.y, loss, state.rows, eot=self.eot)
        best.update(oracle, state.x_adv, state.rows, reply, eot=self.eot)
