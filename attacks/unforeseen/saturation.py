"""Saturation: the colors of an image get stronger or paler (MultiRobustBench, Dai et al., arXiv:2302.10980)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.unforeseen.rendered import Scene
from bench.attacks.unforeseen.scalar import Scalar
from bench.oracle.geometry import per_row


def render(x: Tensor, change: Tensor) -> Tensor:
    """Multiply the saturation (of HSV) of images `x` `[B, 3, H, W]` by `1 + change`, to at most 1.

    Scaling the saturation keeps hue and value, so it scales the distance of each channel from the
    largest one. The factor is at least zero, which makes every pixel gray, and at most the factor that
    brings the smallest channel of a pixel to zero.

    Args:
        x: images in [0, 1].
        change: `[B, 1]`; zero gives exactly `x`.
    """
    value = x.amax(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    # Gray pixels have no chroma, so no factor changes them.
    most = torch.where(chroma > 0, value / torch.where(chroma > 0, chroma, 1), 1)
    gain = torch.minimum(per_row(change.clamp_min(-1), x), most - 1)
    return (x + gain * (x - value)).clamp(0, 1)


@dataclass(frozen=True)
class Saturation(Scalar):
    """The worst saturation: it is multiplied by a factor in [1 - eps, 1 + eps].

    MultiRobustBench takes bounds of 0 to 0.5 and 20 sign steps from a random start, with
    `kornia.enhance.adjust_saturation`. Within those bounds the attack has hardly any power: at 0.5 an
    undefended ResNet-8 with an accuracy of 81 % on CIFAR-10 keeps 74 %.
    """

    family: ClassVar[str] = "saturation"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
