"""An attack of your own: copy this file, put your method in, and run it beside others.

bench example attack > mine.py
bench test-plugin ./mine.py:attack
bench run --defenses at --attacks "./mine.py:attack[steps=20],autoattack" --threat Linf:0.2

It is the momentum iterative method of Dong et al. (CVPR 2018, arXiv:1710.06081), complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.oracle.attack import Access
from bench.oracle.geometry import project
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the loss to ascend: one number per image, the larger the better for the attack."""
    return functional.cross_entropy(logits, y, reduction="none")


@dataclass(frozen=True)
class MomentumIterative:
    """Steps of eps / steps along the sign of a running sum of gradients.

    Attributes:
        steps: gradient steps.
        decay: of the sum from step to step; 0 is the plain iterative method.
        eot: draws per gradient of a stochastic defense; a deterministic one is asked once.
    """

    steps: int = 10
    decay: float = 1.0
    eot: int = 20

    # Traits that the harness reads; bench.oracle.attack.Traits has the defaults of the others.
    families: ClassVar[tuple[str, ...]] = ("Linf",)
    access: ClassVar[Access] = "gradient"

    def cost(self) -> tuple[int, int]:
        """Return the most forwards and backwards per image and draw: one query per step, and one at the last point."""
        return self.steps + 1, self.steps + 1

    def __call__(self, oracle: Oracle, x: Tensor, y: Tensor, threat: ThreatModel, *, stream: Stream) -> Tensor:
        """Propose adversarial images within `threat` of `x`.

        Nothing is random here; a random start would be `stream.at("start", 0).uniform(*x.shape[1:])`.
        """
        x_adv, velocity = x.clone(), torch.zeros_like(x)
        rows = torch.arange(len(x), device=x.device)  # the images that are not broken yet
        for step in range(self.steps + 1):
            grad = oracle.gradient(x_adv[rows], y[rows], cross_entropy, rows, eot=self.eot).grad
            # The query may have broken some images: they stay where they are, and the attack returns them so.
            left = torch.isin(rows, oracle.open(rows))
            rows, grad = rows[left], grad[left]
            if step == self.steps or not len(rows):
                break
            size = grad.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
            velocity[rows] = self.decay * velocity[rows] + grad / size
            ahead = x_adv[rows] + float(threat.eps) / self.steps * velocity[rows].sign()
            x_adv[rows] = project(ahead, x[rows], threat)
        return x_adv


# What `./mine.py:attack[steps=20,decay=0.9]` calls. A function that returns an attack will do as well.
attack = MomentumIterative
