"""The device of these tests: a GPU where there is one, a pretended one elsewhere."""

from __future__ import annotations

import pytest
import torch

from gpu.pretend import pretended_gpu

REAL = torch.cuda.is_available()


@pytest.fixture
def device():
    """`cuda`, whoever answers to that name."""
    if REAL:
        yield "cuda"
        return
    with pretended_gpu():
        yield "cuda"
