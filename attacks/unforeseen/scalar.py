"""Attacks with a single variable per image: the search that hue, saturation, brightness and contrast share.

MultiRobustBench (Dai et al., ICML 2023, arXiv:2302.10980) climbs from a random start. An interval can be
searched better: half of the queries are spread evenly over it, ends first, and the other half climb from
the best point found so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.search import Best
from bench.attacks.unforeseen.rendered import Proof, Rendered, Scene, _State
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream

_GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo one fill an interval most evenly, however many they are


@dataclass
class _Search(_State):
    offset: Tensor  # [B, 1], the beginning of the even spread
    peak: Tensor  # [B, 1], the best variable so far
    height: Tensor  # [B], the loss at the peak
    slope: Tensor  # [B, 1], the gradient of the loss at the peak
    reach: Tensor  # [B, 1], length of the next step from the peak


@dataclass(frozen=True)
class Scalar(Rendered):
    """The search over one variable per image, `[B, 1]`, between -eps and eps.

    The first queries go to zero and to both ends. Then every other query takes the next point of an
    even spread that begins at random; the queries between step uphill from the best point, half as far
    after each step without a gain. The points of a shorter run are the first points of a longer one.

    Attributes:
        steps: queries after the first.
        step_size: length of the first step uphill, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: spreads, each from its own random beginning.
        loss: as in `Rendered`.
        optimizer: `"steepest"`; a line has no other direction.
    """

    steps: int = 40
    step_size: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer != "steepest":
            raise BenchError(f"{type(self).__name__}: optimizer={self.optimizer!r} has no use on a line: leave it out")

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return the beginning of the even spread, `[B, 1]`."""
        return eps * (2 * stream.uniform(1) - 1)

    def _run(self, oracle: Oracle, state: _State, eps: float, best: Best, proof: Proof) -> None:
        best.restart()
        nowhere = torch.zeros_like(state.latent)
        search = _Search(
            **vars(state),
            offset=state.latent,
            peak=nowhere,
            height=torch.full_like(nowhere[:, 0], -torch.inf),
            slope=nowhere,
            reach=torch.full_like(nowhere, self.step_size * eps),
        )
        for step in range(self.steps + 1):
            latent = search.latent = _place(search, step, eps).requires_grad_()
            with torch.enable_grad():
                x_adv = self.render(search.x, latent, search.scene)
            reply = self._judge(oracle, search, x_adv.detach(), best, proof)
            if step == self.steps:
                return
            pull = torch.nan_to_num(reply.grad, nan=0.0, posinf=0.0, neginf=0.0)
            (slope,) = torch.autograd.grad(x_adv, latent, pull)
            search.latent = latent.detach()
            _learn(search, torch.nan_to_num(reply.loss, nan=torch.inf), slope, step)
            search.drop_broken(oracle)
            if not len(search):
                return


def _place(search: _Search, step: int, eps: float) -> Tensor:
    """Return the variable to try in query number `step`, `[B, 1]`."""
    if step < 3:
        return torch.full_like(search.peak, (0.0, eps, -eps)[step])
    spread = search.offset + eps + 2 * eps * ((step * _GOLDEN) % 1)
    spread = (spread % (2 * eps) - eps).clamp(-eps, eps)
    if step % 2:
        return spread
    uphill = torch.where(search.slope < 0, search.peak - search.reach, search.peak + search.reach).clamp(-eps, eps)
    # A peak at an end of the interval that rises outwards has no better neighbor inside.
    return torch.where(uphill == search.peak, spread, uphill)


def _learn(search: _Search, loss: Tensor, slope: Tensor, step: int) -> None:
    better = loss > search.height
    if step > 3 and step % 2 == 0:
        search.reach = torch.where(better[:, None], search.reach, search.reach / 2)
    search.height = torch.where(better, loss, search.height)
    search.peak = torch.where(better[:, None], search.latent, search.peak)
    search.slope = torch.where(better[:, None], slope, search.slope)
