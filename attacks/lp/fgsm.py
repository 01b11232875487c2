"""Fast gradient sign method (Goodfellow, Shlens and Szegedy, ICLR 2015, arXiv:1412.6572)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import cross_entropy
from bench.attacks.search import direction, require_at_least, require_family
from bench.errors import BenchError
from bench.oracle.direct import on_models
from bench.oracle.geometry import fill, project, random_in_ball
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import LP_FAMILIES, ThreatModel


@dataclass(frozen=True)
class FGSM:
    """One step along the steepest direction of the cross-entropy; the point it reaches is not queried.

    In L2 it is the fast gradient method, the steepest direction of that norm. In L1 the steepest
    direction is a single pixel, which soon reaches the edge of the box; the step then continues with
    the next strongest pixel. So from the image it ends where a linear loss is greatest in the ball
    and the box. If the one query shows that an example is already broken, its point stays.

    From a random start, with a step of 1.25 eps, it is the attack in the adversarial training of
    Wong, Rice and Kolter (ICLR 2020, arXiv:2001.03994).

    Attributes:
        eot: draws per gradient of a stochastic defense.
        random_start: start at a random point of the ball instead of at the image.
        step_size: length of the step, in units of eps.
    """

    eot: int = 1
    random_start: bool = False
    step_size: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(self, 1, "eot")
        if not self.step_size > 0:
            raise BenchError(f"FGSM: step_size={self.step_size} must be positive: it is in units of eps")

    @on_models
    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, LP_FAMILIES)
        x_adv = x.clone()
        if self.random_start:
            x_adv = random_in_ball(x, stream.at("start", 0).uniform(*x.shape[1:]), threat)
        rows = torch.arange(len(x), device=x.device)
        reply = oracle.gradient(x_adv, y, cross_entropy, rows, eot=self.eot)
        length = self.step_size * float(threat.eps)
        if threat.family == "L1":
            step = fill(reply.grad, x_adv, length)
        else:
            step = length * direction(reply.grad, threat.family)
        rows = oracle.open(rows)
        x_adv[rows] = project(x_adv + step, x, threat)[rows]
        return x_adv
