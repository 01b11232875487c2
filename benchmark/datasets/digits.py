"""scikit-learn's 1,797 real 8x8 handwritten digits: the embedded default, offline."""

from __future__ import annotations

import numpy as np

from bench.datasets.examples import Examples, spread
from bench.types import ImageSpec

SPEC = ImageSpec(shape=(1, 8, 8), classes=10)
TEST, VALIDATION = 512, 256


def digits(split: str) -> Examples:
    """The fixed split: 512 `test` images, 256 for `validation`, the other 1,029 for `train`.

    The order is that of `spread`, so a test set of 128 is the beginning of one of 512, and every
    class has its share in both.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = (raw.images / 16.0).astype(np.float32)[:, None]
    y = raw.target.astype(np.int64)
    ids = [f"digit-{index:04d}" for index in range(len(y))]
    order = spread(ids, y)
    cut = {
        "test": order[:TEST],
        "validation": order[TEST : TEST + VALIDATION],
        "train": order[TEST + VALIDATION :],
    }[split]
    return Examples("digits", split, [ids[i] for i in cut], x[cut], y[cut], SPEC)
