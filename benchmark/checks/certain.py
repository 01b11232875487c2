"""Flat because certain, or flat because masked: what an image without a slope means for S09 and for cascades.

A network that was trained to be certified may be constant around an image it is sure of, and so its gradient
there is zero and true. A masked gradient is zero as well. Two things tell them apart. Around a certain image
small steps in any direction change nothing, and no good guess from elsewhere breaks it: the steps that the
gradients of other images ask for, and steps towards other images. Around a masked one, one of both does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.answers import misclassified

# Of each kind: directions of other images' gradients, and towards other images.
GUESSES = 8
# A defense of which more than this has no slope gives no evidence at all: there is too little to guess from.
MOST = 0.5
# A small step in pixel values, and by how much of their spread logits may move by rounding.
_STEP = 1e-3
_ROUNDING = 1e-5

# Logits float32 `[B, classes]` of images `[B, C, H, W]`, which are versions of the images `rows`.
Ask = Callable[[Tensor, Tensor], Tensor]
# The farthest point within the threat model from images `[B, C, H, W]` in directions of that shape.
Reach = Callable[[Tensor, Tensor], Tensor]


def certain(ask: Ask, reach: Reach, x: Tensor, at: Tensor, y: Tensor, grad: Tensor, noise: Tensor) -> Tensor:
    """Which images have no slope because nothing near them changes the answer, bool `[m]`.

    Args:
        ask: the defense.
        reach: how far guesses go.
        x: images `[m, C, H, W]`, which guesses start from.
        at: where the slopes were taken, `[m, C, H, W]`: the images themselves, or points near them.
        y: labels `[m]`.
        grad: gradients there of a loss to ascend `[m, C, H, W]`; the images with a usable one lend it to the others.
        noise: of both signs, `[m, C, H, W]`.
    """
    flat = grad.flatten(1)
    zero = (flat == 0).all(1)
    found = torch.zeros_like(zero)
    lending = (flat.isfinite().all(1) & ~zero).nonzero().flatten()
    rows = zero.nonzero().flatten()
    if not len(rows) or len(lending) < (1 - MOST) * len(x):
        return found
    here = ask(at[rows], rows)
    spread = (here.amax(1) - here.amin(1)).clamp_min(torch.finfo(here.dtype).tiny)
    sure = ~misclassified(here, y[rows])
    for side in (1, -1):
        moved = ask((at[rows] + side * _STEP * noise[rows].sign()).clamp(0, 1), rows)
        sure &= ((moved - here).abs().amax(1) <= _ROUNDING * spread).nan_to_num()
    for guess in range(GUESSES):
        lenders = _lenders(y, rows, lending, guess)
        strangers = (rows + 1 + guess * len(x) // GUESSES) % len(x)
        for direction in (grad[lenders].sign(), (x[strangers] - x[rows]).sign()):
            sure &= ~misclassified(ask(reach(x[rows], direction), rows), y[rows])
    found[rows] = sure
    return found


def _lenders(y: Tensor, rows: Tensor, lending: Tensor, guess: int) -> Tensor:
    """For each row the `guess`-th image that has a gradient to lend, those of its own class first."""
    others = (y[lending][None] != y[rows][:, None]).long()
    order = others.argsort(dim=1, stable=True)
    return lending[order[:, guess % len(lending)]]
