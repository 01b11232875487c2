"""Listings of images that decode on demand, so that reading 128 of 50,000 images costs 128 images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.datasets.examples import Examples, spread
from bench.errors import BenchError
from bench.types import ImageSpec

# Images held out of `train` where a dataset has no validation images of its own.
VALIDATION = 2000

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Listing:
    """Ids and labels of images that can be decoded on demand.

    Attributes:
        ids: one stable, unique id per image.
        y: int64 `[N]`.
        classes: names in label order.
        decode: maps rows to their images, uint8 `[n, C, H, W]`.
    """

    ids: Sequence[str]
    y: NDArray[np.int64]
    classes: Sequence[str]
    decode: Callable[[Sequence[int]], NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.ids)

    def order(self) -> Rows:
        """Return all rows in the order of `spread`: every prefix is balanced over the classes."""
        return spread(self.ids, self.y)

    def read(self, rows: Rows, n: int | None, *, dataset: str, split: str) -> Examples:
        """Decode the first `n` of these rows; all of them where `n` is `None`."""
        if n is not None:
            if not 1 <= n <= len(rows):
                raise BenchError(f"n={n} is out of range: {dataset} {split} holds 1 to {len(rows)} images")
            rows = rows[:n]
        pixels = self.decode(rows.tolist())
        x = pixels.astype(np.float32)
        x /= np.float32(255)  # in place: a training set of photographs fills gigabytes, and should do so once
        _, channels, height, width = x.shape
        spec = ImageSpec((channels, height, width), len(self.classes))
        return Examples(dataset, split, [self.ids[row] for row in rows], x, self.y[rows], spec)


def held_out(listing: Listing, split: str) -> Rows:
    """Return the rows of `validation`, or the rest as `train`, from a listing that holds both.

    Validation is the first 2,000 images of the `spread` order, or a tenth of a smaller set: fixed,
    balanced over the classes, and never part of `train`.
    """
    order = listing.order()
    count = min(VALIDATION, len(order) // 10)
    return order[:count] if split == "validation" else order[count:]


def hashed(listing: Listing, split: str) -> Rows:
    """Return the rows of one split from a listing without splits.

    The SHA-256 of an image's id alone decides: two in ten are `test`, one is `validation`, seven are
    `train`. So an image keeps its split when others are added or removed, and a training image never
    becomes a test image.
    """
    buckets = {"test": (0, 1), "validation": (2,), "train": (3, 4, 5, 6, 7, 8, 9)}[split]
    rows = np.array([row for row, name in enumerate(listing.ids) if _bucket(name) in buckets], dtype=np.int64)
    # Spread anew: the order of all images, restricted to one split, is not balanced.
    return rows[spread([listing.ids[row] for row in rows], listing.y[rows])]


def _bucket(name: str) -> int:
    # The prefix keeps this hash apart from the one that orders the examples.
    return int.from_bytes(hashlib.sha256(f"split:{name}".encode()).digest()[:8], "big") % 10
