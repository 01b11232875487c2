"""Which images belong to which split."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.load import load

ALL = ("train", "validation", "test")


def everything(root: Path) -> list[Any]:
    return [load(f"imagefolder:{root}", split) for split in ALL]


@pytest.fixture
def split_root(tmp_path: Path, write: Any) -> Path:
    """`train/` and `test/`, ten and five images of each of two classes."""
    write(tmp_path / "pets" / "train")
    write(tmp_path / "pets" / "test", count=5)
    return tmp_path / "pets"


@pytest.mark.parametrize("layout", ["class folders only", "train and test"])
def test_the_three_splits_are_disjoint_and_complete(tmp_path: Path, write: Any, layout: str) -> None:
    """No image is trained on and judged on; none is lost."""
    if layout == "class folders only":
        write(tmp_path, count=40)
    else:
        write(tmp_path / "train", count=30)
        write(tmp_path / "test", ("cat", "dog"), count=10)
        for file in (tmp_path / "test").glob("*/*"):
            file.rename(file.with_stem(f"test_{file.stem}"))

    ids = [set(examples.ids) for examples in everything(tmp_path)]

    assert len(set.union(*ids)) == 80
    assert all(ids)
    assert not any(one & other for one, other in itertools.combinations(ids, 2))


def test_an_image_keeps_its_split_when_others_come_and_go(tmp_path: Path, write: Any) -> None:
    """Without folders for the splits, the id alone decides, so training images never turn into test images."""
    write(tmp_path, count=40)
    before = {name: examples.split for examples in everything(tmp_path) for name in examples.ids}
    for file in tmp_path.glob("*/*_00*.png"):
        file.unlink()

    after = {name: examples.split for examples in everything(tmp_path) for name in examples.ids}

    assert len(after) == 60
    assert after == {name: before[name] for name in after}


def test_validation_without_a_folder_is_held_out_of_train(split_root: Path) -> None:
    """A tenth of a small training set, balanced; the rest trains."""
    train, validation, test = everything(split_root)

    assert (len(train), len(validation), len(test)) == (18, 2, 10)
    assert sorted(validation.y) == [0, 1]
