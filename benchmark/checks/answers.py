"""What a defense must be like before a single number about it means anything.

S02 (shape of the answer) and S07 (no layer left in train mode) block a cell; S01 (non-finite
answers) is settled where verdicts are made: such an answer is a wrong one.
"""

from __future__ import annotations

from torch import Tensor, nn

_MODES_THAT_MATTER = (
    nn.modules.batchnorm._BatchNorm,  # noqa: SLF001  (the one base class of all of them)
    nn.modules.dropout._DropoutNd,  # noqa: SLF001
)


class FaultyDefense(Exception):
    """A defense that cannot be judged; the message begins with the check's id."""


def require_eval_mode(model: nn.Module) -> None:
    """S07: `model.eval()` must have reached every layer that behaves otherwise in training."""
    for name, module in model.named_modules():
        if isinstance(module, _MODES_THAT_MATTER) and module.training:
            raise FaultyDefense(f"S07: {name or type(module).__name__} is in train mode after model.eval()")


def check_logits(logits: object, rows: int) -> None:
    """S02: the answer is a float tensor with one row per image, and at least two columns."""
    if not isinstance(logits, Tensor):
        raise FaultyDefense(f"S02: the defense returned {type(logits).__name__}, not a tensor of logits")
    if logits.shape in ((rows,), (rows, 1)) and logits.is_floating_point():
        raise FaultyDefense(_one_logit(logits))
    if logits.ndim != 2 or len(logits) != rows or not logits.is_floating_point():
        raise FaultyDefense(f"S02: expected ({rows}, classes) float logits, got {tuple(logits.shape)} {logits.dtype}")


def _one_logit(z: Tensor) -> str:
    """What a binary classifier returns that was made for a sigmoid, and what it should.

    The softmax of 0 and z is the sigmoid of z, and both answer the second class exactly where z is above 0.
    """
    join = "stack" if z.ndim == 1 else "cat"
    return (
        f"S02: got {tuple(z.shape)}, one logit per image instead of one per class: for two classes return "
        f"torch.{join}([torch.zeros_like(z), z], 1), where z is that logit before any sigmoid"
    )
