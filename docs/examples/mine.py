"""A defense of your own in fifteen lines: bench run --defenses standard,./docs/examples/mine.py:build"""

import torch
from torch import nn

from bench.checkpoints import locate
from bench.defenses.standard import load
from bench.types import ImageSpec


class Smoothed(nn.Module):
    """The standard digits classifier behind Gaussian noise: a stochastic defense, found out as such."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        weights = {"standard": locate("standard", "digits", None)}
        self.classifier = load(checkpoints=weights, spec=ImageSpec((1, 8, 8), 10)).model
        self.sigma = sigma

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier((x + self.sigma * torch.randn_like(x)).clamp(0, 1))


def build() -> nn.Module:
    """Called without arguments; returns a module from [0, 1] images to logits, or a bench.types.Defense."""
    return Smoothed(sigma=0.2)
