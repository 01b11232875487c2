"""Counter-based random numbers: the same example sees the same numbers whatever the batch.

The generator is splitmix64 (Steele, Lea, Flood, OOPSLA 2014) run on int64 tensors: number `j` of a
stream with key `k` is `mix(k + (j + 1) * GAMMA)`. A stream has no state that a draw could advance: it
is a pure function of its key, and `at` derives sub-streams by name.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


# The published constants of splitmix64, as int64: torch has few operations on uint64.
_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def seed_of(*parts: object) -> int:
    """Return a 64-bit seed from the SHA-256 of the parts, the same on every machine."""
    # The separator keeps ("a", "bc") and ("ab", "c") apart.
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _shift(value: Tensor, bits: int) -> Tensor:
    # A logical shift: int64 shifts keep the sign.
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    value = (value ^ _shift(value, 30)) * _MIX_1
    value = (value ^ _shift(value, 27)) * _MIX_2
    return value ^ _shift(value, 31)


@dataclass(frozen=True)
class Stream:
    """Random numbers for a batch: row `i` depends on `keys[i]` alone.

    Attributes:
        keys: int64 `[B]`.
    """

    keys: Tensor

    @classmethod
    def of(cls, ids: Sequence[str], *scope: object, device: torch.device | str = "cpu") -> Stream:
        """Return the stream of these examples in a scope such as (run seed, dataset digest, attack)."""
        keys = [_signed(seed_of(*scope, example)) for example in ids]
        return cls(torch.tensor(keys, dtype=torch.int64, device=device))

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, index: Tensor) -> Stream:
        """Return the streams of some rows, given a boolean mask or an index."""
        return Stream(self.keys[index])

    def at(self, *place: object) -> Stream:
        """Return an independent sub-stream for a purpose and a counter: `stream.at("start", restart)`."""
        return Stream(_mix(self.keys ^ _signed(seed_of(*place))))

    def bits(self, *shape: int) -> Tensor:
        """Draw uniform int64 `[B, *shape]` over all 64-bit patterns."""
        count = math.prod(shape)
        counter = torch.arange(1, count + 1, dtype=torch.int64, device=self.keys.device)
        return _mix(self.keys[:, None] + counter * _GAMMA).view(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Draw uniform float32 `[B, *shape]` in [0, 1)."""
        # 24 bits, the mantissa of float32: one more could round up to 1.
        return _shift(self.bits(*shape), 40).to(torch.float32) * 2.0**-24

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal float32 `[B, *shape]` (Box-Muller)."""
        # 1 - u is in (0, 1], so the logarithm is finite.
        radius = (1 - self.at("radius").uniform(*shape)).log().mul(-2).sqrt()
        return radius * self.at("angle").uniform(*shape).mul(2 * math.pi).cos()

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw uniform int64 `[B, *shape]` in [0, high)."""
        return _shift(self.bits(*shape), 1) % high


def seed_everything(*parts: object) -> None:
    """Seed the generators a stochastic defense may draw from: torch, numpy and random."""
    seed = seed_of(*parts)
    torch.manual_seed(seed % 2**63)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (defenses draw from the legacy generator)
    random.seed(seed)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Restore torch's, numpy's and random's global generators after the block."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
