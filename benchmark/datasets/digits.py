"""scikit-learn's 1,797 real 8x8 handwritten digits: the embedded default, offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets.examples import Examples, spread
from bench.errors import BenchError
from bench.machine.system import package_folder
from bench.types import ImageSpec

SPEC = ImageSpec(shape=(1, 8, 8), classes=10)
# 512 images resolve a drop of a few percent, and leave over a thousand to train on.
TEST, VALIDATION = 512, 256


def digits(split: str) -> Examples:
    """Load a fixed split: 512 `test` images, 256 for `validation`, the other 1,029 for `train`.

    The order is that of `spread`, so a test set of 128 is the beginning of one of 512, and every
    class has its share in both.
    """
    rows = np.loadtxt(_file(), delimiter=",")
    # Pixels are whole numbers from 0 to 16, so a division by 16 is exact in float32.
    x = (rows[:, :-1].reshape(-1, 8, 8) / 16.0).astype(np.float32)[:, None]
    y = rows[:, -1].astype(np.int64)
    ids = [f"digit-{index:04d}" for index in range(len(y))]
    order = spread(ids, y)
    cut = {
        "test": order[:TEST],
        "validation": order[TEST : TEST + VALIDATION],
        "train": order[TEST + VALIDATION :],
    }[split]
    return Examples("digits", split, [ids[i] for i in cut], x[cut], y[cut], SPEC)


def _file() -> Path:
    """Return the table that scikit-learn installs, 64 pixels and a label per line.

    `sklearn.datasets.load_digits` would read the same file, but importing it takes a second or two.
    """
    path = package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise BenchError(f"{str(path)!r} is missing: install scikit-learn anew")
    return path
