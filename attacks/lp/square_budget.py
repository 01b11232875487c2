"""The moves of Square in L2 and L1: the budget of two squares goes into one of them, shaped as a bump.

L2 follows section 3.4 of the paper (Andriushchenko et al., ECCV 2020, arXiv:1912.00049), L1 its
adaptation by Croce and Hein (ICML 2021, arXiv:2103.01208): steeper bumps, shares of a sum in place of
shares of squares, and the projection onto the intersection of ball and box.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from bench.oracle.geometry import norm, per_row, project
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel

_STEEPNESS = {"L2": 2, "L1": 4}  # the k-th square of a pyramid has height 1 / k^this


def tiles(x: Tensor, stream: Stream, threat: ThreatModel) -> Tensor:
    """Return the start: the image tiled with bumps of random signs, each as wide as a fifth of the height."""
    channels, height, width = x.shape[1:]
    side = max(min(height, width) // 5, 1)
    down, across = height // side, width // side
    sign = signs(stream.uniform(channels, down, across)).repeat_interleave(side, 2).repeat_interleave(side, 3)
    delta = torch.zeros_like(x)
    bump = _bump(side, threat.family).to(x.device)
    delta[:, :, : down * side, : across * side] = sign * bump.repeat(down, across)
    return _fill_ball(delta, x, threat)


def move_budget(x: Tensor, x_best: Tensor, side: int, uniform: Tensor, threat: ThreatModel) -> Tensor:
    """Move the budget of two squares of every image, and the unused budget, into one of them.

    Args:
        x: the images, `[B, C, H, W]`.
        x_best: the best points so far.
        side: of the squares; rounded up to an odd number, at least 3 if the image allows.
        uniform: `[B, 5 + 2 C]` in [0, 1).
        threat: an L2 or L1 threat model.
    """
    channels, height, width = x.shape[1:]
    family, eps = threat.family, float(threat.eps)
    side = min(max(side, 3) // 2 * 2 + 1, height, width)
    delta = (x_best - x).flatten(2)
    to = window(uniform[:, 0], uniform[:, 1], side, x)
    source = window(uniform[:, 2], uniform[:, 3], side, x)
    covered = torch.zeros_like(delta[:, :1]).scatter_(2, source[:, :1], 1).scatter_(2, to[:, :1], 1)
    bump = _bump(side, family).to(delta.device)
    # A bump and its transpose come up equally often: two pyramids one above the other, or side by side.
    turned = (uniform[:, 4] < 0.5)[:, None, None, None]
    shape = torch.where(turned, bump.T, bump) * signs(uniform[:, 5 : 5 + channels])[:, :, None, None]
    fresh = shape + _normalized(delta.gather(2, to).view(-1, channels, side, side), family)
    if family == "L2":
        held = (delta * covered).square().sum(2, keepdim=True)
        unused = (eps**2 - delta.square().sum((1, 2), keepdim=True)).clamp_min(0)
        budget = (unused / channels + held).sqrt()
    else:
        held = (delta * covered).abs().sum(2, keepdim=True)
        unused = (eps - delta.abs().sum((1, 2), keepdim=True)).clamp_min(0)
        # More than there is, as published: the projection takes the excess from the weakest pixels of the image.
        budget = unused + channels * held
    fresh = _normalized(fresh, family) * budget[..., None]
    delta.scatter_(2, source, 0).scatter_(2, to, fresh.flatten(2))
    return _fill_ball(delta.view_as(x), x, threat)


@lru_cache
def _bump(side: int, family: str) -> Tensor:
    """Return two pyramids of opposite sign, one above the other, of norm one: `[side, side]` (section 3.4)."""
    half = side // 2
    upper = _pyramid(half, side, family) if half else torch.zeros(0, side)
    both = torch.cat([upper, -_pyramid(side - half, side, family)])
    return both / _size(both, family)


def _pyramid(height: int, width: int, family: str) -> Tensor:
    """Return the sum of centered squares of growing size, the k-th of height 1 / k^2 (L1: 1 / k^4), of norm one."""
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    away = torch.maximum(rows[:, None], columns)
    steps = 1 / torch.arange(1, max(height, width) // 2 + 2).pow(_STEEPNESS[family])
    tail = steps.flip(0).cumsum(0).flip(0)
    return tail[away] / _size(tail[away], family)


def _size(square: Tensor, family: str) -> Tensor:
    """Return the norm of one square, or of each channel of each square."""
    if family == "L2":
        return square.square().sum((-2, -1), keepdim=True).sqrt()
    return square.abs().sum((-2, -1), keepdim=True)


def _normalized(squares: Tensor, family: str) -> Tensor:
    """Scale each channel of each square to norm one."""
    return squares / _size(squares, family).clamp_min(1e-12)


def _fill_ball(delta: Tensor, x: Tensor, threat: ThreatModel) -> Tensor:
    """Return `x` plus the perturbation brought to the surface of the ball, in the box.

    In L2 the perturbation is scaled up or down, then clamped. In L1 it is scaled up if it is too
    short, and projected if it is too long, which spares its strong pixels.
    """
    length = per_row(norm(delta, threat.family), delta).clamp_min(1e-12)
    scale = float(threat.eps) / length
    if threat.family == "L1":
        scale = scale.clamp_min(1)
    return project(x + delta * scale, x, threat)


def signs(uniform: Tensor) -> Tensor:
    """Return -1 or 1 for each number in [0, 1)."""
    return torch.where(uniform < 0.5, -1.0, 1.0)


def _span(uniform: Tensor, side: int, size: int) -> Tensor:
    """Return a random interval of `side` out of `size` places for every row, `[B, side]`."""
    first = (uniform * (size - side + 1)).long()
    return first[:, None] + torch.arange(side, device=uniform.device)


def window(down: Tensor, across: Tensor, side: int, x: Tensor) -> Tensor:
    """Return the indices into `x.flatten(2)` of the pixels of a random square of every row, `[B, C, side * side]`.

    They suit `gather` and `scatter`, which are several times faster than indexing by rows and columns.
    """
    channels, height, width = x.shape[1:]
    rows, columns = _span(down, side, height), _span(across, side, width)
    return (rows[:, :, None] * width + columns[:, None]).flatten(1)[:, None].expand(-1, channels, -1)
