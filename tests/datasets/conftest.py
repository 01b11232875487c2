"""Real image files on disk, with pixels that a test can compute again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.datasets.pickled import COUNT, HUNDRED, TEN, announce, shuffled, write_batch

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


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same small CIFAR-10 in torchvision's files, shuffled, and a CIFAR-100 of four images a class."""
    root = tmp_path / "batches" / "cifar-10-batches-py"
    root.mkdir(parents=True)
    rows = shuffled(TEN, COUNT)
    halves = {"data_batch_1": rows[: len(rows) // 2], "data_batch_2": rows[len(rows) // 2 :]}
    announce(
        monkeypatch,
        "cifar10",
        train=[(name, write_batch(root / name, "train", half, TEN, "labels")) for name, half in halves.items()],
        test=[("test_batch", write_batch(root / "test_batch", "test", rows, TEN, "labels"))],
    )
    root = tmp_path / "batches" / "cifar-100-python"
    root.mkdir()
    rows = shuffled(HUNDRED, 4)
    parts = {part: write_batch(root / part, part, rows, HUNDRED, "fine_labels") for part in ("train", "test")}
    announce(monkeypatch, "cifar100", **{part: [(part, md5)] for part, md5 in parts.items()})
    return tmp_path / "batches"
