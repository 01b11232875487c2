"""The oracle's ledger: passes per example, and which examples are known to be broken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

# Entries added up at a time: on a GPU every sum makes the host wait, and one is cheaper than thousands.
_AT_ONCE = 1024
_KINDS = ("forwards", "backwards")


class Known:
    """The examples known to be broken, bool `[size]` on the CPU; replaced, never changed in place.

    So a ledger entry can keep the tensor as it was when the passes were spent.
    """

    def __init__(self, size: int) -> None:
        self.broken = torch.zeros(size, dtype=torch.bool)
        self.breaks = 0  # how often examples were added

    def add(self, rows: Tensor) -> None:
        """Mark some examples as broken."""
        if len(rows):
            self.breaks += 1
            self.broken = self.broken.index_fill(0, rows.cpu(), value=True)


@dataclass(frozen=True)
class _Entry:
    kind: int
    rows: Tensor
    passes: int
    broken: Tensor  # as it was known then


class Passes:
    """Counts of forwards and backwards per example."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._sums = torch.zeros(len(_KINDS), size, dtype=torch.int64)
        self._wasted = torch.zeros(size, dtype=torch.int64)
        self._entries: list[_Entry] = []

    def book(self, kind: str, rows: Tensor, passes: int, known: Known) -> None:
        """Charge each of `rows` this many passes."""
        self._entries.append(_Entry(_KINDS.index(kind), rows, passes, known.broken))
        if len(self._entries) >= _AT_ONCE:
            self._settle()

    def spread(self, kind: str, passes: int) -> None:
        """Charge every example this many passes."""
        self._sums[_KINDS.index(kind)] += passes

    def of(self, kind: str) -> Tensor:
        """Return the passes per example, int64 `[size]`."""
        self._settle()
        return self._sums[_KINDS.index(kind)].clone()

    @property
    def wasted(self) -> Tensor:
        """Return the passes per example after it was known to be broken, int64 `[size]`."""
        self._settle()
        return self._wasted.clone()

    def _settle(self) -> None:
        for _, group in itertools.groupby(self._entries, key=lambda entry: id(entry.broken)):
            # Consecutive entries share one `broken` tensor unless an example broke between them.
            entries = list(group)
            lengths = torch.tensor([len(entry.rows) for entry in entries])
            place = torch.cat([entry.rows for entry in entries]).cpu()
            kind = torch.tensor([entry.kind for entry in entries]).repeat_interleave(lengths)
            passes = torch.tensor([entry.passes for entry in entries]).repeat_interleave(lengths)
            sums = torch.zeros_like(self._sums)
            sums.view(-1).index_add_(0, kind * self.size + place, passes)
            self._sums += sums
            self._wasted += torch.where(entries[0].broken, sums.sum(0), 0)
        self._entries.clear()
