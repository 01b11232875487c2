"""Projection onto a hyperplane inside the box [0, 1], in each Lp norm and per example.

Along the normal w, pixel i can go no farther than its distance r_i to the edge of the box. The nearest
point moves each pixel in the direction of w by

    Linf:  min(t, r_i)          L2:  min(t |w_i|, r_i)          L1:  r_i for the pixels with the largest |w_i|,

with t, or the number of pixels, as small as the hyperplane allows (Croce and Hein, arXiv:1907.02044,
section 3.1 and appendix A; Hein and Andriushchenko, arXiv:1705.08475, section 2.3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.oracle.geometry import norm, per_row

_DUAL = {"Linf": "L1", "L2": "L2", "L1": "Linf"}
_LARGEST = 1e30  # replaces infinity, because 0 * infinity is not a number


def normalize(gap: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the planes `gap + <normal, delta> = 0` so that the largest entry of each normal is one.

    The squares of a gradient of 1e-23, which a confident model gives, are zero in float32. Entries that
    are not finite count as zero; a normal of zeros stays as it is.

    Args:
        gap: `[B]`.
        normal: `[B, ...]`.
    """
    normal = torch.nan_to_num(normal, nan=0.0, posinf=0.0, neginf=0.0)
    largest = normal.flatten(1).abs().amax(1)
    largest = torch.where(largest > 0, largest, 1)
    gap = torch.nan_to_num(gap, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST) / largest
    return gap.clamp(-_LARGEST, _LARGEST), normal / per_row(largest, normal)


def reach(gap: Tensor, normal: Tensor, family: str) -> Tensor:
    """Return the distance from zero to the planes `gap + <normal, delta> = 0`, `[B]`; infinite for a zero normal."""
    slope = norm(normal, _DUAL[family])
    return torch.where(slope > 0, gap.abs() / slope, torch.inf)


def onto_hyperplane(x: Tensor, gap: Tensor, normal: Tensor, family: str) -> Tensor:
    """Return the shortest delta with `gap + <normal, delta> = 0` and `x + delta` in the box [0, 1].

    If the plane does not meet the box, delta leads to the corner of the box nearest to the plane. A
    pixel whose normal is zero stays.

    Args:
        x: images `[B, ...]` in [0, 1].
        gap: `[B]`.
        normal: `[B, ...]`, scaled by `normalize`.
        family: `"Linf"`, `"L2"` or `"L1"`.
    """
    toward = normal.flatten(1) * -gap.sign()[:, None]
    pixel, weight, need = x.flatten(1), toward.abs(), gap.abs()[:, None]
    room = torch.where(toward > 0, 1 - pixel, pixel) * (weight > 0)
    if family == "L1":
        length = _strongest_first(weight, room, need)
    else:
        length = _at_once(weight, room, torch.ones_like(weight) if family == "Linf" else weight, need)
    return (toward.sign() * length).view_as(x)


def _at_once(weight: Tensor, room: Tensor, pace: Tensor, need: Tensor) -> Tensor:
    """Return min(t * pace, room), `[B, N]`, with the least t for which sum(weight * min(t * pace, room)) is `need`.

    The sum is concave and piecewise linear in t. Newton's method from zero therefore never passes the
    solution. It reaches it exactly, without a sort, in a handful of rounds: when no further pixel runs
    out of room. A row that has reached its solution stays there during the rounds of the others.
    """
    until = torch.where(weight > 0, room / pace.clamp_min(torch.finfo(pace.dtype).tiny), 0)
    drop, climb = weight * room, weight * pace
    time = torch.zeros_like(need)
    while True:
        moving = until > time
        slope = (climb * moving).sum(1, keepdim=True)
        missing = need - (drop * ~moving).sum(1, keepdim=True)
        later = torch.where(slope > 0, missing / slope, _LARGEST)
        if not bool((later > time).any()):
            return torch.minimum(time * pace, room)
        time = torch.maximum(time, later)


def _strongest_first(weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Return the moves `[B, N]` that use up the room of the pixels by falling weight until `need` is met."""
    order = weight.argsort(dim=1, descending=True, stable=True)
    weight, room = weight.gather(1, order), room.gather(1, order)
    gain = (weight * room).double()  # a cumulative sum of thousands of pixels, and then a difference
    missing = (need - (gain.cumsum(1) - gain)).clamp_min(0).to(weight.dtype)
    length = torch.minimum(missing / weight.clamp_min(torch.finfo(weight.dtype).tiny), room)
    return torch.zeros_like(length).scatter(1, order, length)
