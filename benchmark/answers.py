"""What a defense answers to a query, and the one rule of when an answer is wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import NamedTuple

import torch
from torch import Tensor

# loss(logits [B, C], y [B]) -> [B]: one number per example, the larger the better for the attack.
Loss = Callable[[Tensor, Tensor], Tensor]


class Gradient(NamedTuple):
    """What one query of `Oracle.gradient` tells; every field is a mean over the draws."""

    loss: Tensor  # [B]
    grad: Tensor  # [B, C, H, W]
    logits: Tensor  # [B, classes]
    success: Tensor  # [B], the share of draws that misclassify, in [0, 1]
    softness: Tensor  # [B], mean over draws of sigmoid(margin of the best wrong class), in [0, 1]


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Which rows are wrong, bool `[B]`: the one rule, for attacks and for the judge.

    A tie goes to the first largest logit; an answer that is not finite is wrong.
    """
    return (logits.argmax(1) != y) | ~logits.isfinite().all(1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """The best wrong logit minus the true one, `[B]`: positive exactly when misclassified."""
    true = logits.gather(1, y[:, None]).squeeze(1)
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return wrong - true


def each_draw(loss: Loss, logits: Tensor, y: Tensor) -> Tensor:
    """The losses `[draws, B]` of several draws `[draws, B, classes]`, in one call where the loss bears it.

    A function of its two arguments alone takes any rows. One that closes over something may know of targets,
    one for each of the rows, and is called once per draw.
    """
    alone = isinstance(loss, FunctionType) and not (loss.__closure__ or loss.__defaults__ or loss.__kwdefaults__)
    if alone:
        return loss(logits.flatten(0, 1), y.repeat(len(logits))).view(len(logits), len(y))
    return torch.stack([loss(each, y) for each in logits.unbind(0)])
