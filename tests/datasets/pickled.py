"""Batches of CIFAR's published layout, made small."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets import cifar
from bench.datasets.cifar import CIFARS

TEN, HUNDRED = CIFARS["cifar10"].classes, CIFARS["cifar100"].classes
COUNT = 40  # images of each class in a small CIFAR-10


def picture(part: str, kind: str, index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng([index, *part.encode(), *kind.encode()])
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


def write_batch(file: Path, part: str, rows: list[tuple[str, int]], classes: tuple[str, ...], key: str) -> str:
    """A batch as it is published, and its MD5."""
    images = np.stack([picture(part, kind, index) for kind, index in rows])
    content = {
        "data": images.transpose(0, 3, 1, 2).reshape(len(rows), 3072),
        key: [classes.index(kind) for kind, _ in rows],
        "filenames": [f"{kind}_s_{index:06d}.png" for kind, index in rows],
        "batch_label": file.name,
    }
    file.write_bytes(pickle.dumps(content, protocol=2))
    return md5_of(file)


def md5_of(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def shuffled(classes: tuple[str, ...], count: int) -> list[tuple[str, int]]:
    rows = [(kind, index) for kind in classes for index in range(count)]
    np.random.default_rng(0).shuffle(rows)
    return [(str(kind), int(index)) for kind, index in rows]


def announce(monkeypatch: pytest.MonkeyPatch, name: str, **files: list[tuple[str, str]]) -> None:
    """Have these be the published files of a dataset."""
    known = {part: tuple(rows) for part, rows in files.items()}
    monkeypatch.setitem(cifar.CIFARS, name, dataclasses.replace(CIFARS[name], files=known))
