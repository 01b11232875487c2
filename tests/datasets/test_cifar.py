from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.datasets.cifar import CIFARS, place
from bench.datasets.load import load
from bench.errors import BenchError
from tests.datasets.pickled import COUNT, HUNDRED, TEN, picture


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A small CIFAR-10 as image folders below `cifar10/`."""
    for part in ("train", "test"):
        for kind in TEN:
            folder = tmp_path / "folders" / "cifar10" / part / kind
            folder.mkdir(parents=True)
            for index in range(COUNT):
                Image.fromarray(picture(part, kind, index)).save(folder / f"{kind}_s_{index:06d}.png")
    return tmp_path / "folders"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_both_layouts_give_the_same_examples(folders: Path, batches: Path, split: str) -> None:
    """Whoever has torchvision's files gets the images, the order and the digest of whoever has folders."""
    one, other = (load("cifar10", split, n=20, data=data) for data in (folders, batches))

    assert list(one.ids) == list(other.ids)
    assert one.digest == other.digest


@pytest.mark.parametrize(("name", "classes"), [("cifar10", TEN), ("cifar100", HUNDRED)])
def test_each_image_of_a_batch_is_under_its_label_and_name(batches: Path, name: str, classes: Any) -> None:
    """Fine labels for CIFAR-100; every class comes first once."""
    examples = load(name, "test", n=len(classes), data=batches)

    assert sorted(examples.y) == list(range(len(classes)))
    for name_, x, label in zip(examples.ids, examples.x, examples.y, strict=True):
        kind, _, file = name_.partition("/")
        expected = picture("test", kind, int(file[-6:])).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        assert classes[label] == kind
        np.testing.assert_array_equal(x, expected)


def test_validation_is_a_fixed_part_of_train(folders: Path) -> None:
    """A tenth of this small set: balanced, disjoint from train, the same at every call."""
    validation, again = (load("cifar10", "validation", data=folders) for _ in range(2))
    train = load("cifar10", "train", data=folders)

    assert np.bincount(validation.y).tolist() == [COUNT // 10] * 10
    assert len(train) == 10 * COUNT - len(validation)
    assert not set(train.ids) & set(validation.ids)
    assert validation.digest == again.digest


def test_train_and_test_may_lie_at_the_top_of_the_data_folder(folders: Path) -> None:
    """`DATA/test/CLASS` is read like `DATA/cifar10/test/CLASS`, if the classes are those of CIFAR-10."""
    top = load("cifar10", "test", n=10, data=folders / "cifar10")

    assert top.digest == load("cifar10", "test", n=10, data=folders).digest
    assert place(CIFARS["cifar100"], "test", folders / "cifar10") is None


def test_missing_images_are_one_line_with_every_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked for, where, the option, the variable, and the dataset that needs no files."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))

    with pytest.raises(BenchError) as caught:
        load("cifar100", "train")

    message = str(caught.value)
    for part in (
        "cifar100 train",
        str(tmp_path),
        "cifar-100-python/",
        "cifar100/train/CLASS/",
        "--data",
        "$BENCH_DATA",
        f"bench download cifar100 --data {tmp_path}",
        "unpack cifar-100-python.tar.gz (md5 eb9058c3a382ffc7106e4002c42a8d85) there",
    ):
        assert part in message
    assert message.endswith("or use --dataset digits")
    assert "\n" not in message


def test_a_missing_class_is_named(folders: Path) -> None:
    """A partly unpacked archive would shift the labels."""
    (folders / "cifar10" / "test" / "deer").rename(folders / "deer")

    with pytest.raises(BenchError, match="test lacks the class folder 'deer' of cifar10"):
        load("cifar10", "test", data=folders)


def test_images_of_another_size_are_refused(tmp_path: Path, write: Any) -> None:
    """CIFAR-10 in 64x64 is another dataset, and has another name."""
    write(tmp_path / "cifar10" / "test", TEN, 1, size=64)

    with pytest.raises(BenchError, match="are 64x64, those of cifar10 are 32x32: use imagefolder:PATH"):
        load("cifar10", "test", data=tmp_path)


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="$BENCH_DATA names no folder with CIFAR-10")
def test_the_first_256_of_cifar10_are_the_same_everywhere() -> None:
    """The digest of real test images is the one that the published numbers were measured on."""
    examples = load("cifar10", "test", n=256)

    assert examples.digest == "e0accc1c93603a49daf0576c4adeba15e369f631e75acc94173d978065f80bd8"
    assert np.bincount(examples.y).max() == 26


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="$BENCH_DATA names no folder with CIFAR-10")
def test_the_cifar10_test_set_has_1000_images_of_each_class() -> None:
    """All of it is there, once."""
    examples = load("cifar10", "test")

    assert np.bincount(examples.y).tolist() == [1000] * 10
    assert len(set(examples.ids)) == 10_000
    assert examples.x.shape == (10_000, 3, 32, 32)
