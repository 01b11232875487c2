from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.datasets.cifar import CIFARS, _file_names, place
from bench.datasets.load import load
from bench.errors import BenchError

TEN = CIFARS["cifar10"].classes
COUNT = 40  # images of each class in a small CIFAR-10


def picture(part: str, kind: str, index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng([index, *part.encode(), *kind.encode()])
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


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


def write_batch(file: Path, part: str, rows: list[tuple[str, int]]) -> str:
    """A batch as torchvision finds it, and its MD5."""
    images = np.stack([picture(part, kind, index) for kind, index in rows])
    content = {
        "data": images.transpose(0, 3, 1, 2).reshape(len(rows), 3072),
        "labels": [TEN.index(kind) for kind, _ in rows],
        "filenames": [f"{kind}_s_{index:06d}.png" for kind, index in rows],
        "batch_label": file.name,
    }
    file.write_bytes(pickle.dumps(content, protocol=2))
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same small CIFAR-10 in torchvision's files, shuffled, with torchvision told their MD5."""
    from bench import repairs

    root = tmp_path / "batches" / "cifar-10-batches-py"
    root.mkdir(parents=True)
    rows = [(kind, index) for kind in TEN for index in range(COUNT)]
    np.random.default_rng(0).shuffle(rows)
    rows = [(str(kind), int(index)) for kind, index in rows]
    half = len(rows) // 2
    files = [
        ["data_batch_1", write_batch(root / "data_batch_1", "train", rows[:half])],
        ["data_batch_2", write_batch(root / "data_batch_2", "train", rows[half:])],
        ["test_batch", write_batch(root / "test_batch", "test", rows)],
    ]
    meta = pickle.dumps({"label_names": list(TEN)}, protocol=2)
    (root / "batches.meta").write_bytes(meta)
    kind = repairs.torchvision().datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", files[:2])
    monkeypatch.setattr(kind, "test_list", files[2:])
    md5 = hashlib.md5(meta, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(kind, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5})
    return tmp_path / "batches"


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_both_layouts_give_the_same_examples(folders: Path, batches: Path, split: str) -> None:
    """Whoever has torchvision's files gets the images, the order and the digest of whoever has folders."""
    one, other = (load("cifar10", split, n=20, data=data) for data in (folders, batches))

    assert list(one.ids) == list(other.ids)
    assert one.digest == other.digest


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_a_damaged_batch_is_named(batches: Path, harm: str) -> None:
    """One line: the file, the MD5 it should have, the archive to unpack."""
    file = batches / "cifar-10-batches-py" / "data_batch_2"
    if harm == "damaged":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()

    with pytest.raises(
        BenchError, match=rf"^{file} is {harm} \(expected md5 \w{{32}}\): unpack cifar-10-python.tar.gz into"
    ):
        load("cifar10", "test", data=batches)


def test_file_names_are_read_off_a_batch_of_python_2(tmp_path: Path) -> None:
    """The published batches hold byte strings of Python 2; pixels and labels are passed over."""
    pixels = b"\x89PNG.png" * 100
    content = b"\x80\x02}q\x01(U\x04dataq\x02T" + len(pixels).to_bytes(4, "little") + pixels
    content += b"U\x06labelsq\x03]q\x04(K\x03K\x08eU\tfilenamesq\x05]q\x06("
    content += b"U\x10cat_s_000907.png" + b"U\x11ship_s_000021.png" + b"eu."
    batch = tmp_path / "test_batch"
    batch.write_bytes(content)

    names = _file_names(batch)

    assert names == ["cat_s_000907", "ship_s_000021"]


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
