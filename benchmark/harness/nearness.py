"""Images near other images: which of many could lie within a distance, found without measuring every pair."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.oracle.geometry import distance

# An example counts as nearer to another image only beyond rounding.
_ROUNDING = 1e-6
# What a matrix product in float32 may be wrong by, as a share of the longest image: a squared distance is a difference
# of squared lengths, wrong by some 50 roundings of 6e-8, and its root by the root of that.
_SLACK = 3e-3
# Rows that are measured against all images at once.
_AT_ONCE = 256


def candidates(x: Tensor, images: Tensor, reach: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield each row of `x` that may have an image within `reach`, `[k]` in L2, with a mask of these images."""
    flat, points = images.flatten(1), x.flatten(1)
    slack = _SLACK * float(flat.norm(dim=1).max())
    for start in range(0, len(x), _AT_ONCE):
        stop = start + _AT_ONCE
        near = torch.cdist(points[start:stop], flat) <= reach[start:stop, None] + slack
        for row in near.any(1).nonzero().flatten().tolist():
            yield start + row, near[row]


def nearer_elsewhere(x_adv: Tensor, own: Tensor, images: Tensor, family: str) -> int:
    """Count the examples that are nearer to another image than to their own, at the distances `own`, `[k]`.

    The L2 distance bounds the others: an image within r in Linf is within r times the root of the size in L2, and one
    within r in L1 is within r in L2. So only few pairs have to be measured exactly.
    """
    reach = own * (images[0].numel() ** 0.5 if family == "Linf" else 1.0)
    count = 0
    for row, near in candidates(x_adv, images, reach):
        others = images[near]
        count += bool(distance(x_adv[row].expand_as(others), others, family).min() < own[row] - _ROUNDING)
    return count
