"""Low-pass filters that are learned for every pixel of an image (Kassis and Hengartner, arXiv:2405.08363).

A filter replaces a pixel by a weighted mean of its neighbours. Each pixel has weights of its own, equal for neighbours
that mirror each other. They count less the more a neighbour differs in color in the image that guides the filter, so
edges stay. A sequence of such filters changes an image in its low frequencies only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Standard deviation, in pixels, of the Gaussian that a filter starts as: nearly the identity.
_START = 0.2
_LEAST = 1e-5  # the least weight of a neighbour at the start, as published: a logarithm of zero would never move

Size = tuple[int, int]  # rows and columns of a filter, both odd


def quarter(size: Size) -> Size:
    """Return the rows and columns of a filter's free weights: the others mirror them."""
    return size[0] // 2 + 1, size[1] // 2 + 1


def start(x: Tensor, size: Size) -> Tensor:
    """Return the weights' logarithms of a filter that hardly changes an image.

    Args:
        x: images `[B, C, H, W]`.
        size: of the filter.

    Returns:
        `[B, free weights, H * W]`.
    """
    rows, columns = (torch.arange(count, device=x.device) - (count - 1) for count in quarter(size))
    squares = rows[:, None].square() + columns.square()
    weights = (-0.5 * squares / _START**2).exp().clamp_min(_LEAST).log()
    return weights.flatten()[:, None].expand(len(x), -1, x.shape[2] * x.shape[3]).clone().to(x.dtype)


def filtered(x: Tensor, logs: Sequence[Tensor], sizes: Sequence[Size], guide: Tensor, spread: float) -> Tensor:
    """Apply filters one after the other, differentiable in the images and in the weights.

    Args:
        x: images `[B, C, H, W]`.
        logs: the weights' logarithms, for each filter as `start` returns them.
        sizes: of the filters; half of one must be less than the image's side.
        guide: images of the shape of `x`.
        spread: of the Gaussian weight of a difference in color, the L1 distance over the channels.

    Returns:
        `[B, C, H, W]`; every value is a mean of values of `x`, so the box holds.
    """
    for each, size in zip(logs, sizes, strict=True):
        weights = torch.softmax(each, 1).index_select(1, _mirrored(size, x.device)) * _alike(guide, size, spread)
        # The pixel itself is exactly alike, but its own weight may fall to nothing.
        weights = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        x = (_patches(x, size) * weights[:, None]).sum(2).view_as(x)
    return x


def _mirrored(size: Size, device: torch.device) -> Tensor:
    """Return which free weight each position of a filter takes, row by row, int64 `[rows * columns]`."""
    rows, columns = (count // 2 - (torch.arange(count, device=device) - count // 2).abs() for count in size)
    return (rows[:, None] * quarter(size)[1] + columns).flatten()


def _alike(guide: Tensor, size: Size, spread: float) -> Tensor:
    """Return the weight of every neighbour by its difference in color, `[B, rows * columns, H * W]`."""
    apart = (_patches(guide, size) - guide.flatten(2)[:, :, None]).abs().sum(1)
    return (-0.5 * (apart / spread).square()).exp()


def _patches(x: Tensor, size: Size) -> Tensor:
    """Return the neighbours of every pixel, mirrored at the edges, `[B, C, rows * columns, H * W]`."""
    padded = F.pad(x, (size[1] // 2, size[1] // 2, size[0] // 2, size[0] // 2), mode="reflect")
    return F.unfold(padded, size).view(*x.shape[:2], size[0] * size[1], -1)
