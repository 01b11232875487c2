"""Two defenses that only hide the gradient, for P8: `bench run --defenses performance/masked.py:quantized`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.catalogue import resolve
from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.types import Defense, ImageSpec

# Times 200 the gaps of most logits exceed 104, beyond which the float32 gradient of the cross-entropy is zero.
LEVELS, SCALE = 8, 200.0
_SPEC = ImageSpec((3, 32, 32), 10)


class Quantized(nn.Module):
    """A network whose input is rounded to a few levels, so that its gradient is zero."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(torch.round(x * (LEVELS - 1)) / (LEVELS - 1))
        return logits


class Saturated(nn.Module):
    """A network with logits so far apart that the float32 softmax is one or zero."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = SCALE * self.network(x)
        return logits


def quantized() -> Defense:
    """Return the shipped robust network with its input rounded to 8 levels per channel."""
    return Defense(Quantized(_robust()).eval())


def saturated() -> Defense:
    """Return the shipped robust network with its logits multiplied by 200."""
    return Defense(Saturated(_robust()).eval())


def _robust() -> nn.Module:
    return load_defense(resolve.defense(Request("at", {}), "cifar10", None), _SPEC).model
