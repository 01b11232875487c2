"""Saturation: the colors of an image get stronger or paler (MultiRobustBench, arXiv:2302.10980)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.rendered import Scene
from bench.attacks.scalar import Scalar
from bench.geometry import per_row


def render(x: Tensor, change: Tensor) -> Tensor:
    """Images `x` `[B, 3, H, W]` with the saturation of HSV times `1 + change`, at most 1.

    Scaling the saturation leaves hue and value as they are, so it scales the distance of each
    channel from the largest one. The factor ends at zero, where every pixel is gray, and at the one
    that brings the smallest channel of a pixel to zero.

    Args:
        x: images in [0, 1].
        change: `[B, 1]`; zero gives exactly `x`.
    """
    value = x.amax(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    # Gray pixels have no chroma and stay as they are whatever the factor.
    most = torch.where(chroma > 0, value / torch.where(chroma > 0, chroma, 1), 1)
    gain = torch.minimum(per_row(change.clamp_min(-1), x), most - 1)
    return (x + gain * (x - value)).clamp(0, 1)


@dataclass(frozen=True)
class Saturation(Scalar):
    """The worst saturation: the factor on it is in [1 - eps, 1 + eps].

    attacks.md 3.7 (bounds 0 to 0.5; 20 sign steps from a random start; `kornia.enhance.adjust_saturation`).
    Within those bounds it has hardly any power: at 0.5 an undefended ResNet-8 with an accuracy of
    81 % on CIFAR-10 keeps 74 %.
    """

    family: ClassVar[str] = "saturation"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
