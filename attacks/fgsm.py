"""Fast gradient sign method (Goodfellow, Shlens and Szegedy, ICLR 2015, arXiv:1412.6572)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import cross_entropy
from bench.attacks.trajectory import direction, require_at_least, require_family
from bench.geometry import project, random_in_ball
from bench.oracle import Oracle
from bench.random import Stream
from bench.types import LP_FAMILIES, ThreatModel


@dataclass(frozen=True)
class FGSM:
    """One step of length eps along the steepest direction of the cross-entropy; never judged.

    For L2 and L1 it is the fast gradient method: the steepest direction of that norm. An example
    that its only query shows broken already stays where it is.

    Attributes:
        eot: draws per gradient of a stochastic defense.
        random_start: start at a random point of the ball (as in arXiv:2001.03994) instead of at the
            image.
    """

    eot: int = 1
    random_start: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, 1, "eot")

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        require_family(self, threat, LP_FAMILIES)
        x_adv = x.clone()
        if self.random_start:
            x_adv = random_in_ball(x, stream.at("start", 0).uniform(*x.shape[1:]), threat)
        rows = torch.arange(len(x), device=x.device)
        reply = oracle.gradient(x_adv, y, cross_entropy, rows, eot=self.eot)
        step = float(threat.eps) * direction(reply.grad, threat.family)
        rows = oracle.open(rows)
        x_adv[rows] = project(x_adv + step, x, threat)[rows]
        return x_adv
