"""What holds for the first n images of every kind of dataset: the same ones, balanced, pinned by their pixels."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.catalogue.selection import Selection
from bench.datasets import cifar
from bench.datasets.cifar import CIFARS
from bench.datasets.imagenette import CLASSES
from bench.datasets.load import load
from bench.harness.matrix import build
from bench.threats import ThreatModel

PETS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")
DEFENSE = """
from torch import nn

def build():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
"""


def fill(root: Path, classes: tuple[str, ...], counts: tuple[int, ...], size: tuple[int, int]) -> None:
    """Noise; the classes have their `counts` in turns."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(counts[place % len(counts)]):
            pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}_{index:03d}.png")


def cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    fill(root / "cifar10" / "test", CIFARS["cifar10"].classes, (12,), (32, 32))
    return "cifar10"


def cifar100_batch(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 2))
    data = np.random.default_rng(1).integers(0, 256, (200, 3072), dtype=np.uint8)
    content = pickle.dumps({"data": data, "fine_labels": labels.tolist()}, 2)
    file = root / "cifar-100-python" / "test"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    known = dataclasses.replace(CIFARS["cifar100"], files={"test": (("test", md5),)})
    monkeypatch.setitem(cifar.CIFARS, "cifar100", known)
    return "cifar100"


def imagenette(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    fill(root / "imagenette2-160" / "val", tuple(CLASSES), (12, 15), (16, 20))
    return "imagenette-160[resize=16]"


def folder_with_splits(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    fill(root / "pets" / "test", PETS, (40, 60), (8, 8))
    return f"imagefolder:{root / 'pets'}"


def folder_without_splits(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    fill(root / "pets", PETS, (90, 120), (9, 8))
    return f"imagefolder:{root / 'pets'}[crop=8]"


def digits(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return "digits"


KINDS = [cifar10, cifar100_batch, imagenette, folder_with_splits, folder_without_splits, digits]
Kind = Callable[[Path, pytest.MonkeyPatch], str]


@pytest.mark.parametrize("kind", KINDS)
def test_every_prefix_is_balanced_and_the_beginning_of_a_longer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """While no class has run out, their counts differ by one at most; a smaller n is the beginning of a larger one."""
    name = kind(tmp_path, monkeypatch)
    longest = load(name, "test", n=90, data=tmp_path)

    for n in (1, 2, 7, 10, 25, 64, 90):
        examples = load(name, "test", n=n, data=tmp_path)
        counts = np.bincount(examples.y, minlength=examples.spec.classes)
        assert counts.max() - counts.min() <= 1, n
        assert list(examples.ids) == list(longest.ids[:n])
        assert examples.digest == longest.first(n).digest


@pytest.mark.parametrize("kind", [cifar10, imagenette, folder_with_splits, folder_without_splits])
def test_one_changed_pixel_changes_digest_and_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """Verdicts on other images are never taken for these, whatever they are called."""
    (tmp_path / "mine.py").write_text(DEFENSE)
    name = kind(tmp_path / "data", monkeypatch)
    request = Selection.of(f"{tmp_path / 'mine.py'}:build", "fgsm", (ThreatModel.parse("Linf:0.1"),))
    before = load(name, "test", n=8, data=tmp_path / "data")
    (file,) = (tmp_path / "data").rglob(f"{before.ids[5]}.png")
    with Image.open(file) as image:
        pixels = np.array(image)
    pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, 1] ^= 128
    Image.fromarray(pixels).save(file)

    after = load(name, "test", n=8, data=tmp_path / "data")

    assert before.digest != after.digest
    assert [one != other for one, other in zip(before.fingerprints, after.fingerprints, strict=True)] == [
        row == 5 for row in range(8)
    ]
    (one,), (other,) = build(request, before), build(request, after)
    assert one.cell.slice.digest == before.digest
    assert one.cell.key != other.cell.key
