"""The probability margin attack (Xie et al., 2024, arXiv:2411.15210)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import best_wrong_probability, cross_entropy, probability_margin
from bench.attacks.search import Best, Unbroken, at_last, direction, require_at_least, require_family
from bench.oracle.answers import Loss
from bench.oracle.direct import on_models
from bench.oracle.geometry import project, random_in_ball
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

_FAMILIES = ("Linf", "L2")
# What the first half of each run of a pair raises: minus the true probability, whose gradient has the direction of the
# cross-entropy's in each example, and the best wrong one.
_FIRST: tuple[Loss, Loss] = (cross_entropy, best_wrong_probability)


@dataclass
class _State(Unbroken):
    x: Tensor
    y: Tensor
    x_adv: Tensor


@dataclass(frozen=True)
class PMA:
    """Ascent of the probability margin in two stages, from random starts in pairs.

    As in the MD attack (Ma et al., arXiv:2006.13726), whose margin of logits the probabilities replace, the first half
    of the steps follows only one of the margin's two terms, the true class down in the first run of a pair, the best
    wrong class up in the second; the other half follows the margin. In each half the step falls from 2 eps to 0
    along a cosine.

    Attributes:
        steps: gradient steps per run.
        n_restarts: pairs of runs; a later run attacks the examples that the earlier ones left.
        eot: draws per gradient of a stochastic defense.
    """

    steps: int = 100
    n_restarts: int = 1
    eot: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "n_restarts", "eot")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, _FAMILIES)
        best = Best(x)
        for run in range(2 * self.n_restarts):
            start = random_in_ball(x, stream.at("start", run).uniform(*x.shape[1:]), threat)
            state = _State(torch.arange(len(x), device=x.device), x, y, start)
            state.drop_broken(oracle)
            self._run(oracle, state, threat, best, _FIRST[run % 2])
        return best.x_adv

    def _run(self, oracle: Oracle, state: _State, threat: ThreatModel, best: Best, first: Loss) -> None:
        best.restart()
        half = self.steps // 2
        for step in range(self.steps):
            if not len(state):
                return
            early = step < half
            reply = oracle.gradient(
                state.x_adv, state.y, first if early else probability_margin, state.rows, eot=self.eot
            )
            best.update(oracle, state.x_adv, state.rows, reply, eot=self.eot)
            done = step / half if early else (step - half) / (self.steps - half)
            length = float(threat.eps) * (1 + math.cos(math.pi * done))
            state.x_adv = project(state.x_adv + length * direction(reply.grad, threat.family), state.x, threat)
            state.drop_broken(oracle)
        if len(state):
            reply = at_last(oracle, state.x_adv, state.y, probability_margin, state.rows, eot=self.eot)
            best.update(oracle, state.x_adv, state.rows, reply, eot=self.eot)
