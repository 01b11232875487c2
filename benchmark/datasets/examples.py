"""A labelled slice of images with stable ids, and the order that makes every prefix balanced."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.types import ImageSpec


@dataclass(frozen=True)
class Examples:
    """Images with labels.

    Attributes:
        dataset: the name of the dataset, as it appears in a path.
        split: `train`, `validation` or `test`.
        ids: one stable id per image, the same on every machine.
        x: float32 `[n, C, H, W]` in [0, 1].
        y: int64 `[n]`.
        spec: the shape of one image and the number of classes.
    """

    dataset: str
    split: str
    ids: Sequence[str]
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    spec: ImageSpec

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, n: int) -> Examples:
        """Return the first `n` examples: always the same ones, balanced over the classes."""
        if not 1 <= n <= len(self):
            raise BenchError(f"n={n} is out of range: {self.dataset} {self.split} holds 1 to {len(self)} images")
        return self.part(0, n)

    def part(self, start: int, stop: int) -> Examples:
        return Examples(
            self.dataset, self.split, self.ids[start:stop], self.x[start:stop], self.y[start:stop], self.spec
        )

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Return per example its id and the first 64 bits of the SHA-256 of label and pixels: `id:hash`."""
        # Little-endian on every machine, because the bytes are hashed.
        labels = np.ascontiguousarray(self.y, dtype="<i8")
        pixels = np.ascontiguousarray(self.x, dtype="<f4")
        return tuple(
            f"{name}:{hashlib.sha256(label.tobytes() + image.tobytes()).hexdigest()[:16]}"
            for name, label, image in zip(self.ids, labels, pixels, strict=True)
        )

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 over ids, labels and pixels, in order."""
        sha = hashlib.sha256()
        for name in self.ids:
            sha.update(name.encode() + b"\n")
        sha.update(np.ascontiguousarray(self.y, dtype="<i8").tobytes())
        sha.update(np.ascontiguousarray(self.x, dtype="<f4").tobytes())
        return sha.hexdigest()


def spread(ids: Sequence[str], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a fixed order in which every prefix is balanced over the classes as well as can be.

    Within a class the examples are ordered by the SHA-256 of their ids, then the classes take
    turns; so the order depends on ids and labels alone, and the first 128 are the first 128 of any 512.
    """
    # Hashes instead of a seeded shuffle, whose result could change with the version of a library.
    keys = [hashlib.sha256(name.encode()).digest() for name in ids]
    turn = np.empty(len(ids), dtype=np.int64)
    for label in np.unique(y):
        members = sorted(np.flatnonzero(y == label), key=lambda i: keys[i])
        turn[members] = np.arange(len(members))
    return np.array(sorted(range(len(ids)), key=lambda i: (turn[i], keys[i])), dtype=np.int64)
