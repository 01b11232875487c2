"""Zero gradients that are honest: the network is certain around the image (for S09 and for cascades).

A network trained for certification may be constant around an image, and its zero gradient there is true. A
masked gradient is zero as well. Two tests tell them apart. Around a certain image, small steps in any direction
change nothing, and no guess from elsewhere breaks it: neither steps along the gradients of other images nor
steps towards other images. Around a masked image, one of the two changes something.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.oracle.answers import misclassified

# Guesses of each kind: along other images' gradients, and towards other images.
GUESSES = 8
# Beyond this share of images without a gradient nothing counts as certain: too few gradients are left to guess from.
MOST = 0.5
# A small step in pixel values, and the change of logits, as a share of their spread, that rounding may cause.
_STEP = 1e-3
_ROUNDING = 1e-5

# Logits float32 `[B, classes]` of images `[B, C, H, W]`, which are versions of the images `rows`.
Ask = Callable[[Tensor, Tensor], Tensor]
# The farthest point within the threat model from images `[B, C, H, W]` in directions of that shape.
Reach = Callable[[Tensor, Tensor], Tensor]


def certain(ask: Ask, reach: Reach, x: Tensor, at: Tensor, y: Tensor, grad: Tensor, noise: Tensor) -> Tensor:
    """Return which images have a zero gradient because nothing near them changes the answer, bool `[m]`.

    Args:
        ask: the defense.
        reach: gives the endpoints of guesses.
        x: images `[m, C, H, W]`, at which guesses start.
        at: where the gradients were taken, `[m, C, H, W]`: the images themselves, or points near them.
        y: labels `[m]`.
        grad: gradients there of a loss to ascend, `[m, C, H, W]`; images with a usable one lend it to the others.
        noise: random numbers of both signs, `[m, C, H, W]`.
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
    """Return for each row the `guess`-th image with a gradient to lend; those of the row's own class come first."""
    others = (y[lending][None] != y[rows][:, None]).long()
    order = others.argsort(dim=1, stable=True)
    return lending[order[:, guess % len(lending)]]
