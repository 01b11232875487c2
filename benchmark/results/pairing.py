"""Pairs of verdicts on the same images, in two sets of results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.results.cell import Slice
from bench.results.outcome import Verdicts


def pairs_of(one: Slice, other: Slice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices, in each slice, of the images that both hold, matched by id and content."""
    if one.digest == other.digest:
        both = np.arange(one.n)
        return both, both
    there = {example: index for index, example in enumerate(other.examples)}
    common = [(index, there[example]) for index, example in enumerate(one.examples) if example in there]
    indices = np.array(common, dtype=np.int64).reshape(-1, 2)
    return indices[:, 0], indices[:, 1]


def only(verdicts: Verdicts, index: NDArray[np.int64]) -> Verdicts:
    """Return the verdicts on some of the images, by index."""
    return Verdicts(verdicts.draws, verdicts.clean[index], verdicts.adversarial[index])
