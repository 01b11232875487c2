"""The global generators of torch, numpy and Python: a stochastic defense draws from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from bench.random import seed_of


def seed_everything(*parts: object) -> None:
    """Seed the generators a stochastic defense may draw from: torch, numpy and random."""
    seed = seed_of(*parts)
    torch.manual_seed(seed % 2**63)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (defenses draw from the legacy generator)
    random.seed(seed)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Leave torch's, numpy's and random's global generators as they were found."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
