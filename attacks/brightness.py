"""Brightness: one number per image is added to all of its values (MultiRobustBench, arXiv:2302.10980)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.attacks.rendered import Scene
from bench.attacks.scalar import Scalar
from bench.geometry import per_row


def render(x: Tensor, summand: Tensor) -> Tensor:
    """Images `x` `[B, C, H, W]` with `summand` `[B, 1]` added, cut off at 0 and 1."""
    return (x + per_row(summand, x)).clamp(0, 1)


@dataclass(frozen=True)
class Brightness(Scalar):
    """The worst of all brighter and darker images: a number in [-eps, eps] is added to every value.

    attacks.md 3.7 (bounds 0 to 0.3; 20 sign steps from a random start), where images only get
    brighter; here they may get darker, too. Within those bounds it has little power: at 0.3 an
    undefended ResNet-8 with an accuracy of 81 % on CIFAR-10 keeps 52 %.
    """

    family: ClassVar[str] = "brightness"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
