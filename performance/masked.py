"""Two defenses that only hide the gradient, for P8: `bench run --defenses performance/masked.py:quantized`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench import selection
from bench.executors.task import load_defense
from bench.request import Request
from bench.types import Defense, ImageSpec

LEVELS, SCALE = 8, 200.0
_SPEC = ImageSpec((3, 32, 32), 10)


class Quantized(nn.Module):
    """The network behind an input of a few levels; rounding has no gradient but zero."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(torch.round(x * (LEVELS - 1)) / (LEVELS - 1))
        return logits


class Saturated(nn.Module):
    """The network with logits so far apart that the float32 softmax is one or zero."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = SCALE * self.network(x)
        return logits


def quantized() -> Defense:
    """The shipped robust network behind 8 levels per channel."""
    return Defense(Quantized(_robust()).eval())


def saturated() -> Defense:
    """The shipped robust network, logits x 200."""
    return Defense(Saturated(_robust()).eval())


def _robust() -> nn.Module:
    return load_defense(selection.defense(Request("at", {}), "cifar10", None), _SPEC).model
