"""Kaleidoscope: bright shapes with dark outlines lie on the image (UA-v2: Kaufmann et al., arXiv:1908.08016 v4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.attacks.search import require_at_least
from bench.attacks.unforeseen.hue import wheel
from bench.attacks.unforeseen.rendered import Rendered, Scene, by_side
from bench.oracle.randomness import Stream

# For small, middle and large images (`by_side`); the last two values of each are the published ones.
_SHAPES = (2, 5, 40)  # per image
_SIZES = (2, 4, 15)  # diameter in pixels of the circle inscribed in a shape
_SEEN = (0.2, 0.2, 0.1)  # weight of the image behind a shape
_OUTLINES = (1, 2, 2)  # width in pixels
_PALEST, _DARKEST = 0.7, 0.8  # the smallest saturation and value of a shape's own color
_CORNERS = (0, 3, 4)  # a circle, a triangle and a square


def render(x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
    """Lay the shapes of `scene` on `x`.

    A pixel under a shape becomes `seen` times the image plus the color of the shape; of two shapes the
    later lies on top. Outlines are black and lie over all shapes.

    Args:
        x: images `[B, C, H, W]` in [0, 1].
        latent: `[B, shapes * C + H * W]`, the changes of the colors of the shapes, then the values of
            the pixels of the outlines.
        scene: the number of the shape at each pixel, `[B, H, W]`, -1 for none; whether the pixel belongs
            to an outline, bool `[B, H, W]`; the shapes' own colors `[B, shapes, C]`; and `seen` `[B]`.
    """
    top, outline, colors, seen = scene
    count = colors[0].numel()
    tint, light = latent[:, :count], latent[:, count:]
    painted = colors.to(latent.dtype) + tint.view_as(colors)
    index = top.clamp_min(0).flatten(1)[..., None].expand(-1, -1, x.shape[1])
    color = painted.gather(1, index).transpose(1, 2).view_as(x)
    image = torch.where(top[:, None] >= 0, seen[:, None, None, None] * x + color, x)
    return torch.where(outline[:, None], light.view(-1, 1, *x.shape[2:]), image).clamp(0, 1)


@dataclass(frozen=True)
class Kaleidoscope(Rendered):
    """The worst colors, each within eps of a random one, of shapes drawn at random.

    UA-v2 takes eps 0.05, 0.1 and 0.15, 30 steps of 0.005 and 5 shapes of 4 pixels with a transparency
    of 0.2 on CIFAR-10, and 40 shapes of 15 pixels with a transparency of 0.1 for large images. Circles,
    triangles and squares are equally likely, in any place. Outlines are 2 pixels wide and at most eps
    bright.

    The shapes are there whatever eps is: eps bounds the changes of their colors. Their places matter
    more than their colors, so each of 5 restarts draws new shapes. At a bound of 0.1 that left an
    adversarially trained ResNet-8 on CIFAR-10 8 % accuracy, one draw 30 %.

    Attributes:
        steps: gradient steps per restart.
        step_size: length of a step, in units of eps.
        eot: draws per gradient of a stochastic defense.
        n_restarts: independent runs, each with its own shapes; a later one attacks the examples that
            the earlier ones left.
        loss: as in `Rendered`.
        optimizer: as in `Rendered`.
        shapes: number of shapes; 0 takes it from the size of the image.
    """

    steps: int = 20
    n_restarts: int = 5
    shapes: int = 0

    family: ClassVar[str] = "kaleidoscope"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "shapes")

    def scene(self, x: Tensor, stream: Stream) -> Scene:
        """Draw the shapes; `render` describes the tensors."""
        count = self.shapes or by_side(x, _SHAPES)
        size, width = by_side(x, _SIZES), by_side(x, _OUTLINES)
        top = torch.full((len(x), *x.shape[2:]), -1, device=x.device)
        outline = torch.zeros_like(top, dtype=torch.bool)
        for number in range(count):
            shape = _shape(x, size, stream.at("shape", number))
            # A maximum over a window grows the shape by `width` pixels; the ring around it is the outline.
            grown = F.max_pool2d(shape[:, None].float(), 2 * width + 1, stride=1, padding=width)[:, 0] > 0
            top = torch.where(shape, number, top)
            outline |= grown & ~shape
        colors = _colors(x.shape[1], stream.at("colors").uniform(3, count))
        return top, outline, colors, torch.full_like(colors[:, 0, 0], by_side(x, _SEEN))

    def start(self, x: Tensor, scene: Scene, eps: float, stream: Stream) -> Tensor:
        """Return random variables; `render` describes them."""
        uniform = stream.at("variables").uniform(scene[2][0].numel() + x[0, 0].numel())
        return eps * (2 * uniform - 1)

    def render(self, x: Tensor, latent: Tensor, scene: Scene) -> Tensor:
        return render(x, latent, scene)


def _shape(x: Tensor, size: int, stream: Stream) -> Tensor:
    """Return whether each pixel belongs to a random shape, bool `[B, H, W]`."""
    height, width = x.shape[2:]
    place = stream.uniform(3)[..., None, None]
    kind = stream.at("kind").integers(len(_CORNERS), 1, 1)
    across = torch.arange(width, device=x.device) + 0.5 - place[:, 0] * width
    down = torch.arange(height, device=x.device)[:, None] + 0.5 - place[:, 1] * height
    shapes = []
    for corners in _CORNERS:
        # The distance from the center: for a polygon along the normal of the nearest side, for a circle itself.
        sides = [2 * math.pi * (place[:, 2] + side / corners) for side in range(corners)]
        reach = [across * angle.cos() + down * angle.sin() for angle in sides]
        far = torch.stack(reach).amax(0) if corners else (across.square() + down.square()).sqrt()
        shapes.append(far < size / 2)
    return torch.stack(shapes, 1).gather(1, kind[:, None].expand(-1, -1, height, width)).squeeze(1)


def _colors(channels: int, uniform: Tensor) -> Tensor:
    """Return bright colors `[B, shapes, channels]` from uniform numbers `[B, 3, shapes]`: hue, saturation, value."""
    hue, saturation, value = uniform[:, 0:1], uniform[:, 1:2], uniform[:, 2:3]
    saturation = _PALEST + (1 - _PALEST) * saturation
    value = _DARKEST + (1 - _DARKEST) * value
    if channels != 3:
        return value.expand(-1, channels, -1).transpose(1, 2).contiguous()
    return (value * (1 - saturation * wheel(6 * hue))).transpose(1, 2).contiguous()
