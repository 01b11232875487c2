"""Where S11 looks from, and which steps it takes there: points with their gradients, parts of images, slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bench.checks.gradients import ascend, gradient, sloping
from bench.checks.subject import Subject

# Images that are looked at, of those of the preflight.
IMAGES = 32
# How far from the box points are, at most: only so are steps possible on both sides of a black pixel.
_HAIR = 2 / 255
_ATTACK_STEPS = 3
_DARK, _BRIGHT = 0.1, 0.9


class Part(NamedTuple):
    """Some pixels of each image; `mask` is bool `[m, C, H, W]`."""

    name: str
    mask: Tensor


@dataclass(frozen=True)
class Place:
    """Points with the gradients there.

    Attributes:
        name: what the points are.
        x: `[m, C, H, W]`, a hair inside the box.
        y: the labels, `[m]`.
        rival: the class that comes closest to the label, `[m]`.
        grad: of its logit less that of the label.
        asked: logits, as they are judged.
        differentiated: the same while they are differentiated.
        draw: of a stochastic defense: every place has random numbers of its own, the same for all steps from it.
    """

    name: str
    x: Tensor
    y: Tensor
    rival: Tensor
    grad: Tensor
    asked: Tensor
    differentiated: Tensor
    draw: int

    @property
    def usable(self) -> Tensor:
        """Which points have a gradient that is finite and not all zero, bool `[m]`."""
        return sloping(self.grad)


def places(subject: Subject) -> list[Place]:
    """The images themselves, random starting points, and where a short attack ends.

    Raises:
        Exception: whatever the forward or the backward pass raises.
    """
    x, y = subject.x[:IMAGES], subject.y[:IMAGES]
    points = {"at the images": x, "at random starts": (x + subject.eps * subject.noise("start")[: len(x)]).clamp(0, 1)}
    ends = ascend(subject, x, y, _ATTACK_STEPS)
    if ends is not None:
        points["where an attack ends"] = ends
    return [
        _place(subject, name, _off_the_box(there, subject.noise(f"hair {name}")[: len(x)]), y, draw)
        for draw, (name, there) in enumerate(points.items())
    ]


def _off_the_box(x: Tensor, noise: Tensor) -> Tensor:
    """A hair towards the middle, each pixel by a distance of its own: pixels that tie would be kinks."""
    hair = _HAIR * (0.55 + 0.45 * noise)
    return torch.where(x >= 0.5, x - hair, x + hair)


def _place(subject: Subject, name: str, x: Tensor, y: Tensor, draw: int) -> Place:
    """Points with the closest other class of each, and the gradient of its lead."""
    asked = subject.ask(x, draw)
    rival = asked.nan_to_num().scatter(1, y[:, None], -torch.inf).argmax(1)
    grad, differentiated = gradient(subject, x, lambda logits: lead(logits, y, rival), draw)
    return Place(name, x, y, rival, grad, asked, differentiated, draw)


def lead(logits: Tensor, y: Tensor, rival: Tensor) -> Tensor:
    """How far the closest other class is ahead of the label, `[B]`; of two answers, how their lead differs."""
    return (logits.gather(1, rival[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def divisions(place: Place) -> Mapping[str, Sequence[Part]]:
    """Every image cut into parts in some ways: by slope, by place, by value, by channel."""
    x = place.x
    steepness = place.grad.flatten(1).abs()
    rank = (steepness.argsort(1).argsort(1) * 4 // steepness.shape[1]).view_as(x)
    _, channels, height, width = x.shape
    down = torch.arange(height, device=x.device)[:, None] * 2 // height
    right = torch.arange(width, device=x.device)[None] * 2 // width
    quarter = (2 * down + right).expand_as(x)
    found = {
        "slope": [Part(f"the {name} of the pixels by slope", rank == k) for k, name in enumerate(_QUARTERS)],
        "place": [Part(f"the {name} quarter", quarter == k) for k, name in enumerate(_CORNERS)],
        "value": [
            Part(f"pixels below {_DARK:g}", x < _DARK),
            Part(f"pixels from {_DARK:g} to {_BRIGHT:g}", (x >= _DARK) & (x <= _BRIGHT)),
            Part(f"pixels above {_BRIGHT:g}", x > _BRIGHT),
        ],
    }
    if channels > 1:
        channel = torch.arange(channels, device=x.device)[:, None, None].expand_as(x)
        found["channel"] = [Part(f"channel {k}", channel == k) for k in range(channels)]
    return found


_QUARTERS = ("flattest quarter", "second quarter", "third quarter", "steepest quarter")
_CORNERS = ("upper left", "upper right", "lower left", "lower right")


def signs(subject: Subject, purpose: str, place: Place) -> Tensor:
    """A random step in every pixel of every point, up or down, `[m, C, H, W]`; a function of the example alone."""
    return torch.where(subject.noise(purpose)[: len(place.x)] >= 0, 1.0, -1.0)


def weight_of(part: Part, place: Place) -> float:
    """Of a step within n pixels the slope grows with the root of n, what an attack could gain with n."""
    return float(part.mask.flatten(1)[place.usable].sum(1).float().mean().sqrt())


class Slopes(NamedTuple):
    """Changes over h, each `[steps, usable points]`."""

    real: Tensor
    predicted: Tensor


def slopes_of(subject: Subject, place: Place, steps: Sequence[Tensor], h: float) -> Slopes:
    """What steps of h up and down change, at the points that have a gradient, and what it says that they change."""
    real, predicted = [], []
    for step in steps:
        # All points, those without a gradient too: a stochastic defense draws by the row.
        up, down = (place.x + h * step).clamp(0, 1), (place.x - h * step).clamp(0, 1)
        change = subject.ask(up, place.draw) - subject.ask(down, place.draw)
        real.append(lead(change, place.y, place.rival) / h)
        predicted.append(((up - down) * place.grad).flatten(1).sum(1) / h)
    return Slopes(torch.stack(real).nan_to_num()[:, place.usable], torch.stack(predicted)[:, place.usable])
