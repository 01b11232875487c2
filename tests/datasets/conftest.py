"""Real image files on disk, with pixels that a test can compute again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Pixels = Callable[[str, int], NDArray[np.uint8]]
Write = Callable[..., Path]


@pytest.fixture(scope="session")
def pixels() -> Pixels:
    """Image `index` of a class: uint8 `[8, 8, 3]`, the same in every test."""

    def make(name: str, index: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng([index, *name.encode()])
        return rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def write(pixels: Pixels) -> Write:
    """Write `count` images of every class below a folder, losslessly."""

    def make(
        root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 10, *, suffix: str = "png", size: int = 8
    ) -> Path:
        for name in classes:
            folder = root / name
            folder.mkdir(parents=True)
            for index in range(count):
                image = Image.fromarray(pixels(name, index)).resize((size, size), Image.Resampling.NEAREST)
                image.save(folder / f"{name}_{index:03d}.{suffix}", lossless=True)
        return root

    return make
