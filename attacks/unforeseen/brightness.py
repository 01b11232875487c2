"""Brightness: one number per image added to all of its values (MultiRobustBench, Dai et al., arXiv:2302.10980)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.attacks.unforeseen.rendered import Scene
from bench.attacks.unforeseen.scalar import Scalar
from bench.oracle.geometry import per_row


def render(x: Tensor, summand: Tensor) -> Tensor:
    """Add `summand` `[B, 1]` to images `x` `[B, C, H, W]` and clamp them to [0, 1]."""
    return (x + per_row(summand, x)).clamp(0, 1)


@dataclass(frozen=True)
class Brightness(Scalar):
    """The worst brightness: a number in [-eps, eps] is added to every value.

    MultiRobustBench takes bounds of 0 to 0.3 and 20 sign steps from a random start, and images only
    get brighter; here they may get darker, too. Within those bounds the attack has little power: at
    0.3 an undefended ResNet-8 with an accuracy of 81 % on CIFAR-10 keeps 52 %.
    """

    family: ClassVar[str] = "brightness"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
