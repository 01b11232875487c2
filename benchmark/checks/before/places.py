"""The points, parts of images and steps of S11: where it compares slopes with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bench.checks.before.gradients import ascend, gradient, sloping
from bench.checks.before.subject import Subject

# The first images of the preflight; S11 takes the most passes of all checks.
IMAGES = 32
# The largest distance by which points are moved off 0 and 1, so that steps to both sides of a black pixel are possible.
_HAIR = 2 / 255
_ATTACK_STEPS = 3
# The values that divide dark, middle and bright pixels.
_DARK, _BRIGHT = 0.1, 0.9


class Part(NamedTuple):
    """Some pixels of each image; `mask` is bool `[m, C, H, W]`."""

    name: str
    mask: Tensor


@dataclass(frozen=True)
class Place:
    """Points with the gradients there.

    Attributes:
        name: the kind of points.
        x: the points `[m, C, H, W]`, slightly inside the box.
        y: their labels, `[m]`.
        rival: the best wrong class of each, `[m]`.
        grad: the gradient of the rival's logit minus the label's.
        asked: logits without a gradient, as the judge sees them.
        differentiated: logits of the forward that was differentiated.
        draw: the draw of a stochastic defense: its own for every place, the same for all steps from it.
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
        """Return which points have a gradient that is finite and not all zero, bool `[m]`."""
        return sloping(self.grad)


def places(subject: Subject) -> list[Place]:
    """Return the images themselves, random starts, and the points where a short attack ends, with their gradients.

    Raises:
        Exception: any error of the forward or the backward pass.
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
    """Move every pixel slightly towards the middle, each by its own distance: pixels that tie would be kinks."""
    hair = _HAIR * (0.55 + 0.45 * noise)
    return torch.where(x >= 0.5, x - hair, x + hair)


def _place(subject: Subject, name: str, x: Tensor, y: Tensor, draw: int) -> Place:
    """Find the best wrong class of each point, and the gradient of its lead over the label."""
    asked = subject.ask(x, draw)
    rival = asked.nan_to_num().scatter(1, y[:, None], -torch.inf).argmax(1)
    # The rival is fixed for all steps: the margin itself has a kink wherever the best wrong class changes.
    grad, differentiated = gradient(subject, x, lambda logits: lead(logits, y, rival), draw)
    return Place(name, x, y, rival, grad, asked, differentiated, draw)


def lead(logits: Tensor, y: Tensor, rival: Tensor) -> Tensor:
    """Return the lead of the rival over the label, `[B]`; being linear, it also takes a difference of logits."""
    return (logits.gather(1, rival[:, None]) - logits.gather(1, y[:, None])).squeeze(1)


def divisions(place: Place) -> Mapping[str, Sequence[Part]]:
    """Divide every image into parts in several ways: by slope, by position, by value, by channel."""
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
    """Draw a random sign for every pixel of every point, `[m, C, H, W]`; a function of the example alone."""
    return torch.where(subject.noise(purpose)[: len(place.x)] >= 0, 1.0, -1.0)


def weight_of(part: Part, place: Place) -> float:
    """Return the weight of a part of n pixels, root n.

    The slope along a random step within n pixels grows with root n, and what an attack can gain there with n.
    """
    return float(part.mask.flatten(1)[place.usable].sum(1).float().mean().sqrt())


class Slopes(NamedTuple):
    """Changes per step length h, each `[steps, usable points]`."""

    real: Tensor
    predicted: Tensor


def slopes_of(subject: Subject, place: Place, steps: Sequence[Tensor], h: float) -> Slopes:
    """Measure the slopes of steps of h up and down at the points with a gradient, and the slopes it predicts."""
    real, predicted = [], []
    for step in steps:
        # All points, those without a gradient too: a stochastic defense draws by the row.
        up, down = (place.x + h * step).clamp(0, 1), (place.x - h * step).clamp(0, 1)
        change = subject.ask(up, place.draw) - subject.ask(down, place.draw)
        real.append(lead(change, place.y, place.rival) / h)
        predicted.append(((up - down) * place.grad).flatten(1).sum(1) / h)
    return Slopes(torch.stack(real).nan_to_num()[:, place.usable], torch.stack(predicted)[:, place.usable])
