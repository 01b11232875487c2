"""Models on digits whose faults are known, and the bench that they are examined on."""

import torch
from torch import nn

from bench.checks.before.pristine import Pristine
from bench.checks.before.subject import Subject
from bench.datasets.digits import digits
from bench.types import Defense


class Linear(nn.Module):
    """Ten fixed templates: its logits, its margins and their gradients are known in closed form."""

    def __init__(self, scale=1.0):
        super().__init__()
        weight = scale * torch.randn(10, 64, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x):
        return (x - 0.5).flatten(1) @ self.weight.T


class Wrapped(Linear):
    """The same, with something done to images, templates or logits: `how(self, x, logits)`."""

    def __init__(self, how, scale=1.0):
        super().__init__(scale)
        self.how = how

    def forward(self, x):
        return self.how(self, x, super().forward(x))


def on_the_bench(model, *, n=32, eps=0.1, **declared):
    """A model as the preflight has it, on the first `n` digits."""
    defense = Defense(model, **declared)
    return Subject(defense, digits("test").first(n), eps, Pristine(model, "cpu"))
