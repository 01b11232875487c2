"""Answers of a defense to a query, and the one rule that calls an answer wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import NamedTuple

import torch
from torch import Tensor, nn

# loss(logits [B, classes], y [B]) -> [B]: one number per example, the larger the better for the attack.
Loss = Callable[[Tensor, Tensor], Tensor]


class Gradient(NamedTuple):
    """The answer to one query of `Oracle.gradient`; every field is a mean over the draws."""

    loss: Tensor  # [B]
    grad: Tensor  # [B, C, H, W]
    logits: Tensor  # [B, classes]
    success: Tensor  # [B], the share of draws that misclassify, in [0, 1]
    softness: Tensor  # [B], mean over draws of sigmoid(margin of the best wrong class), in [0, 1]


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Return which rows are misclassified, bool `[B]`; attacks and the judge both use this rule.

    A tie goes to the first largest logit; an answer that is not finite is wrong.
    """
    return (logits.argmax(1) != y) | ~logits.isfinite().all(1)


def predicted(logits: Tensor) -> Tensor:
    """Return the predicted classes, int64 `[B]`; -1 where an answer is not finite."""
    return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return the best wrong logit minus the true one, `[B]`: positive only where misclassified.

    A tie gives 0, and `misclassified` alone decides about ties and about answers that are not finite.
    """
    true = logits.gather(1, y[:, None]).squeeze(1)
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    return wrong - true


def each_draw(loss: Loss, logits: Tensor, y: Tensor) -> Tensor:
    """Compute the losses `[draws, B]` of several draws `[draws, B, classes]`, in one call where the loss allows it.

    A function of its two arguments alone takes any number of rows. One that closes over something may hold a
    target for each of the B rows, and is called once per draw.
    """
    alone = isinstance(loss, FunctionType) and not (loss.__closure__ or loss.__defaults__ or loss.__kwdefaults__)
    if alone:
        return loss(logits.flatten(0, 1), y.repeat(len(logits))).view(len(logits), len(y))
    return torch.stack([loss(each, y) for each in logits.unbind(0)])


_MODES_THAT_MATTER = (
    nn.modules.batchnorm._BatchNorm,  # noqa: SLF001  (the one base class of all of them)
    nn.modules.dropout._DropoutNd,  # noqa: SLF001
)


class FaultyDefense(Exception):
    """A defense that cannot be judged; the message begins with the check's id."""


def require_eval_mode(model: nn.Module) -> None:
    """Raise S07 unless `model.eval()` has reached every layer that behaves differently in training."""
    for name, module in model.named_modules():
        if isinstance(module, _MODES_THAT_MATTER) and module.training:
            raise FaultyDefense(f"S07: {name or type(module).__name__} is in train mode after model.eval()")


def check_logits(logits: object, rows: int) -> None:
    """Raise S02 unless the answer is a float tensor `[rows, classes]`."""
    if not isinstance(logits, Tensor):
        raise FaultyDefense(f"S02: the defense returned {type(logits).__name__}, not a tensor of logits")
    if logits.shape in ((rows,), (rows, 1)) and logits.is_floating_point():
        raise FaultyDefense(_one_logit(logits))
    if logits.ndim != 2 or len(logits) != rows or not logits.is_floating_point():
        raise FaultyDefense(f"S02: expected ({rows}, classes) float logits, got {tuple(logits.shape)} {logits.dtype}")


def _one_logit(z: Tensor) -> str:
    """Describe the one logit of a binary classifier made for a sigmoid, and the two it should return.

    The softmax of 0 and z is the sigmoid of z, and both choose the second class exactly where z is above 0.
    """
    join = "stack" if z.ndim == 1 else "cat"
    return (
        f"S02: got {tuple(z.shape)}, one logit per image instead of one per class: for two classes return "
        f"torch.{join}([torch.zeros_like(z), z], 1), where z is that logit before any sigmoid"
    )
