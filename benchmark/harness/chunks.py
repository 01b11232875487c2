"""Smaller batches where memory runs out: a defense that answers a batch in chunks.

Only for a deterministic defense, whose answers do not depend on the companions of an image (check S04); a stochastic
one draws its noise for a whole batch, and its verdicts would be those of another batch size.
"""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.types import Defense

# In the messages of torch and of the C library; `torch.OutOfMemoryError` has the first one, too.
_SAID = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class Chunked(nn.Module):
    """A module that maps at most `rows` images at once, and keeps the activations of no more for the backward pass.

    Args:
        inner: maps `[B, ...]` to `[B, ...]`, each row by itself.
        rows: at least 1.
    """

    def __init__(self, inner: nn.Module, rows: int) -> None:
        super().__init__()
        self.inner = inner
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._one(part) for part in torch.split(x, self.rows)])

    def _one(self, part: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            answer: Tensor = self.inner(part)
            return answer
        kept: Tensor = checkpoint(self.inner, part, use_reentrant=False)
        return kept


_PARTS = ("model", "surrogate", "base", "purifier", "derandomized")


def in_chunks(defense: Defense, batch: int, halvings: int) -> Defense:
    """Return a defense whose modules map the `batch` images of a shard in chunks, halved so many times.

    Raises:
        MemoryError: it is stochastic.
    """
    if not halvings:
        return defense
    if defense.stochastic:
        raise MemoryError("out of memory, and a stochastic defense draws for a whole batch: give a smaller --batch")
    modules = {name: getattr(defense, name) for name in _PARTS}
    # The source of a transfer is asked as often, but one that is stochastic has to see whole batches, too.
    source = defense.transfer_source
    if source is not None and not source.stochastic:
        source = in_chunks(source, batch, halvings)
    chunked: dict[str, Any] = {
        name: None if each is None else smaller(each, batch, halvings) for name, each in modules.items()
    }
    return replace(defense, **chunked, transfer_source=source)


def smaller(module: nn.Module, batch: int, halvings: int) -> nn.Module:
    """Return a module that maps a batch in chunks, halved so many times; itself where it is not halved."""
    return Chunked(module, max(1, math.ceil(batch / 2**halvings))).eval() if halvings else module


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; what can be freed is freed."""
    if not isinstance(error, MemoryError | RuntimeError):
        return False
    if not isinstance(error, MemoryError) and not any(said in str(error).lower() for said in _SAID):
        return False
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return True
