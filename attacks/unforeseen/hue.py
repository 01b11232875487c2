"""Hue: the color wheel of an image turns (MultiRobustBench, Dai et al., ICML 2023, arXiv:2302.10980)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.attacks.unforeseen.rendered import Scene
from bench.attacks.unforeseen.scalar import Scalar
from bench.oracle.geometry import per_row


def wheel(hue: Tensor) -> Tensor:
    """Return how far red, green and blue are below the largest of them, in units of the chroma: `[B, 3, ...]`.

    Args:
        hue: `[B, 1, ...]`, in sixths of a turn; 0 is red, 2 green, 4 blue. Any real number.
    """
    place = torch.stack([(hue[:, 0] + shift) % 6 for shift in (5, 3, 1)], 1)
    return torch.minimum(place, 4 - place).clamp(0, 1)


def hue_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hue in sixths of a turn and the chroma of colors `[B, 3, ...]`, both `[B, 1, ...]`; 0 for grays."""
    red, green, blue = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    value = x.amax(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    scale = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        red == value,
        (green - blue) / scale,
        torch.where(green == value, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    )
    return hue % 6, chroma


def render(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue (of HSV) of every pixel of images `x` `[B, 3, H, W]` by `turn` `[B, 1]` radians.

    Only the difference between the turned and the original wheel is added to the image, so a turn of
    zero gives exactly `x`, and gray pixels stay as they are.
    """
    hue, chroma = hue_of(x)
    turned = wheel(hue + per_row(turn, x) * (3 / math.pi))
    return (x + chroma * (wheel(hue) - turned)).clamp(0, 1)


@dataclass(frozen=True)
class Hue(Scalar):
    """The worst turn of the color wheel by at most eps radians; a bound of pi is the whole wheel.

    MultiRobustBench takes bounds of 0 to 0.5 and 20 sign steps from a random start, with
    `kornia.enhance.adjust_hue`. Within those bounds the attack has little power: at 0.5 an undefended
    ResNet-8 with an accuracy of 81 % on CIFAR-10 keeps 64 %.
    """

    family: ClassVar[str] = "hue"

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent)
