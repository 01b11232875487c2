"""Whether the gradient of a stochastic defense foretells how its answers change: the alarm of its cascades.

A gradient may be neither zero nor infinite and still be another function's: part of the network detached, a rounding
with a made-up gradient, a surrogate. Then attacks by gradient go the wrong way. In the same draws (common random
numbers) a finite difference holds no noise of the draws, so the two sides can be compared step by step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.oracle.answers import margin
from bench.oracle.oracle import Oracle

# Half of the distance between the two points of a finite difference: far above rounding in float32 (1e-7), far below
# the bends of a network.
_STEP = 1e-3
# Directions for each example, and draws of each query.
DIRECTIONS, _DRAWS = 4, 2
# An honest gradient agrees to 0.99 and more (docs/soundness.md); one of half of a network to about 0.7.
LEAST = 0.9


def agreement(oracle: Oracle, x: Tensor, y: Tensor, rows: Tensor, noise: Tensor) -> Tensor:
    """Return the cosine between foretold and measured changes of the margin in random directions, `[B]`.

    It is NaN where an answer changed in no direction and none was foretold, and -1 where an answer is not finite.

    Args:
        oracle: of a stochastic defense.
        x: images `[B, C, H, W]` in [0, 1].
        y: labels `[B]`.
        rows: the indices of these examples, `[B]`.
        noise: uniform in [-1, 1], `[B, DIRECTIONS * C, H, W]`.
    """
    # Inwards, so that both points are images.
    middle = x * (1 - 2 * _STEP) + _STEP
    directions = noise.view(len(x), DIRECTIONS, *x.shape[1:]).sign().unbind(1)
    with oracle.rewound():
        slope = oracle.gradient(middle, y, margin, rows, eot=_DRAWS).grad
    points = [middle + side * _STEP * each for each in directions for side in (1, -1)]
    values = oracle.compared(points, y, margin, rows, eot=_DRAWS)
    measured = ((values[0::2] - values[1::2]) / (2 * _STEP)).double()
    foretold = torch.stack([(slope * each).flatten(1).sum(1) for each in directions]).double()
    lengths = measured.norm(dim=0) * foretold.norm(dim=0)
    cosine = (measured * foretold).sum(0) / lengths
    nothing = (measured == 0).all(0) & (foretold == 0).all(0)
    return torch.where(cosine.isfinite() | nothing, cosine, torch.where(lengths.isfinite(), 0.0, -1.0))


def misled(agreed: Tensor) -> bool:
    """Return whether the gradients of most examples `[B]` point elsewhere than the answers go."""
    told = agreed[~agreed.isnan()]
    return len(told) > 0 and bool(told.median() < LEAST)
