"""The oracle as a module: for libraries that want one."""

import pytest
import torch
from torch import nn

from bench.oracle.module import CountedModule
from bench.oracle.oracle import Oracle
from bench.types import Defense


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x.flatten(1) @ self.weight


@pytest.fixture
def x():
    return torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))


def test_the_module_view_is_differentiable_and_counts(x):
    oracle = Oracle(Defense(Linear()), 6)
    x = x.requires_grad_()

    CountedModule(oracle)(x).sum().backward()

    assert x.grad is not None
    assert oracle.forwards.sum() == 6
    assert oracle.backwards.sum() == 6
