"""DiffHammer (Wang et al., NeurIPS 2024): ascent for the draws of a stochastic defense that can be broken together.

The mean gradient of all draws (EOT) may point where none of them breaks, because the draws that cannot be broken pull
it away: the paper's gradient dilemma. So the draws are taken for a mixture of two kinds, those that share a weakness
and the others. Expectation-maximization finds the probability of each draw to be of the first kind and, in turn, the
direction that breaks these.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.lp.apgd_dense import DenseState, start
from bench.attacks.search import Best, direction, require_at_least, require_family, require_loss
from bench.errors import BenchError
from bench.oracle.direct import on_models
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

_FAMILIES = ("Linf", "L2")


@dataclass(frozen=True)
class DiffHammer:
    """Auto-PGD along the gradients of the draws that share a weakness, with restarts on other losses.

    A query draws `eot` times. The same draws judge the point (the paper's N-evaluation) and give the next gradient. The
    paper propagates their weights through one draw of a diffusion model (gradient grafting), to save N - 1 of its long
    backward passes; here every draw has its full gradient, which any stochastic defense can give. A restart attacks
    all examples that are not broken yet, not only those of which less than half of the draws are wrong.

    Attributes:
        steps: gradient steps per restart.
        n_restarts: independent runs, on one after the other of `losses`.
        eot: draws per query.
        losses: names with `+` between them, each one of `bench.attacks.losses.LOSSES`.
        rounds: steps of expectation-maximization per query.
        sharpness: of the probability that a draw is broken, sigmoid(sharpness * predicted loss).
        decay: the gradient after `i` steps has the weight `(i + 1) ** -decay` against the running mean of those
            before; 0 is without memory.
        rho: share of steps that must raise the loss for the step size to stay, as in `APGD`.
    """

    steps: int = 50
    n_restarts: int = 3
    eot: int = 10
    losses: str = "margin+ce+dlr"
    rounds: int = 5
    sharpness: float = 5.0
    decay: float = 0.5
    rho: float = 0.75

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "n_restarts", "eot", "rounds")
        require_at_least(self, 0, "sharpness", "decay")
        if not 0 < self.rho < 1:
            raise BenchError(f"DiffHammer: rho={self.rho} must be between 0 and 1")
        for name in self.losses.split("+"):
            require_loss(name)

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, _FAMILIES)
        best, rows = Best(x), torch.arange(len(x), device=x.device)
        names = self.losses.split("+")
        for restart in range(self.n_restarts):
            rows = oracle.open(rows)
            if not len(rows):
                break
            begin = start(x[rows], stream.at("start", restart).rows(rows), threat)
            state = _State.at(rows, x[rows], y[rows], y[rows], begin, float(threat.eps))
            self._run(oracle, state, threat, best, names[restart % len(names)])
        return best.x_adv

    def _run(self, oracle: Oracle, state: _State, threat: ThreatModel, best: Best, loss: str) -> None:
        best.restart()
        state.mean = torch.zeros_like(state.x)
        for step in range(self.steps + 1):
            every, reply = oracle.gradient_of_each(state.x_adv, state.y, LOSSES[loss], state.rows, eot=self.eot)
            best.update(oracle, state.x_adv, state.rows, reply, eot=self.eot)
            grad = shared_direction(every.grad, every.loss, threat, self.rounds, self.sharpness)
            weight = (step + 1) ** -self.decay
            state.mean = weight * grad + (1 - weight) * state.mean
            state.learn(reply.loss, state.mean)
            state.drop_broken(oracle)
            if step == self.steps or not len(state):
                return
            state.review(step, self.steps, self.rho, threat)
            state.move(threat, first=step == 0)


@dataclass
class _State(DenseState):
    mean: Tensor = field(default_factory=lambda: torch.zeros(0))  # of the gradients so far


def shared_direction(
    grads: Tensor, losses: Tensor, threat: ThreatModel, rounds: int = 5, sharpness: float = 5.0
) -> Tensor:
    """Return the gradient of the draws that share a weakness, `[B, ...]`, by expectation-maximization.

    A draw of loss l and gradient g is predicted to have the loss l + eps <u, g> at the edge of the ball in the unit
    direction u. The search begins with the gradient that promises most: the largest sum of ELU(predicted loss) over
    the draws, in which a draw that is hopeless counts at most -1. E-step: a draw belongs to those that break
    in this direction with probability sigmoid(sharpness * predicted loss). M-step: the mean gradient with
    these weights; its unit direction maximizes the weighted sum of predicted losses.

    Args:
        grads: the gradient of each draw, `[draws, B, ...]`; entries that are not finite count as zero.
        losses: the loss of each draw, `[draws, B]`, positive where the draw is broken; not finite counts as 0.
        threat: the norm of the directions, and how far they lead.
        rounds: E- and M-steps.
        sharpness: how sure a draw's kind is; at 0 every draw has the same weight, which is EOT.
    """
    grads = torch.nan_to_num(grads, nan=0.0, posinf=0.0, neginf=0.0)
    losses = torch.nan_to_num(losses, nan=0.0, posinf=0.0, neginf=0.0)
    eps, flat = float(threat.eps), grads.flatten(2)
    units = direction(grads.flatten(0, 1), threat.family).view_as(flat)
    promise = F.elu(losses[:, None] + eps * torch.einsum("jbd,ibd->ijb", units, flat)).sum(0)
    chosen = flat[promise.argmax(0), torch.arange(losses.shape[1], device=losses.device)]
    for _ in range(rounds):
        unit = direction(chosen, threat.family)
        predicted = losses + eps * (unit * flat).sum(2)
        # In logarithms: where no draw is near breaking, float32 would divide zero by zero.
        weights = F.logsigmoid(sharpness * predicted).softmax(0)
        chosen = (weights[..., None] * flat).sum(0)
    return chosen.view(grads.shape[1:])
