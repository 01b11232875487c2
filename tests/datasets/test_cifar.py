from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.datasets import cifar
from bench.datasets.batches import parse
from bench.datasets.cifar import CIFARS, place
from bench.datasets.load import load
from bench.errors import BenchError

TEN, HUNDRED = CIFARS["cifar10"].classes, CIFARS["cifar100"].classes
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


@pytest.mark.slow
def test_files_and_md5s_are_those_of_torchvision() -> None:
    """The numbers that published batches are checked by."""
    from bench import repairs

    for name, theirs in (("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")):
        kind = getattr(repairs.torchvision().datasets, theirs)
        assert CIFARS[name].files["train"] == tuple(map(tuple, kind.train_list))
        assert CIFARS[name].files["test"] == tuple(map(tuple, kind.test_list))
        assert CIFARS[name].archive.folder == kind.base_folder


def test_batches_are_read_without_torch(batches: Path) -> None:
    """Importing torchvision would cost seconds."""
    code = f"""
import sys
from pathlib import Path
from bench.datasets import batches
batches.parse(Path({str(batches)!r}, 'cifar-100-python', 'test').read_bytes(), labels='fine_labels', classes=100)
print(*sys.modules)
"""

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"torch", "torchvision"} & set(loaded)


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_a_damaged_batch_is_named(batches: Path, harm: str) -> None:
    """One line: the file, the MD5 it should have, the archive to unpack; the test images need no training batch."""
    file = batches / "cifar-10-batches-py" / "data_batch_2"
    if harm == "damaged":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()

    with pytest.raises(
        BenchError, match=rf"^{file} is {harm} \(expected md5 \w{{32}}\): unpack cifar-10-python.tar.gz into"
    ):
        load("cifar10", "train", data=batches)
    assert len(load("cifar10", "test", data=batches)) == 10 * COUNT


class Trap:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def full(values: Any, **more: Any) -> dict[str, Any]:
    return {"data": values, "labels": [3, 8], **more}


TWO = np.zeros((2, 3072), np.uint8)
FOREIGN = [
    pytest.param(lambda mark: pickle.dumps(full(Trap(mark)), 2), r"asks for \w+\.system", id="code"),
    pytest.param(lambda mark: pickle.dumps(Trap(mark), 4), r"asks for \w+\.system", id="code, new protocol"),
    pytest.param(lambda mark: b"cbuiltins\neval\n(S'1'\ntR.", "asks for builtins.eval", id="eval"),
    pytest.param(lambda mark: pickle.dumps(full(TWO), 2)[:-900], "is no batch of images", id="truncated"),
    pytest.param(lambda mark: b"", "is no batch of images", id="empty"),
    pytest.param(lambda mark: b"<html>", "is no batch of images", id="html"),
    pytest.param(lambda mark: pickle.dumps([1, 2], 2), "is no batch of images", id="a list"),
    pytest.param(lambda mark: pickle.dumps({"data": TWO}, 2), "KeyError: 'labels'", id="no labels"),
    pytest.param(lambda mark: pickle.dumps(full(TWO.astype(np.float32)), 2), "its images are f4", id="floats"),
    pytest.param(lambda mark: pickle.dumps(full(TWO[:, :3000]), 2), r"its images are \[2, 3000\]", id="small"),
    pytest.param(lambda mark: pickle.dumps(full(TWO.astype(object)), 2), "its images are O8", id="objects"),
    pytest.param(lambda mark: pickle.dumps(full(TWO[:1]), 2), "one label below 10 for each of 1", id="other count"),
    pytest.param(lambda mark: pickle.dumps({"data": TWO, "labels": [3, 10]}, 2), "one label below 10", id="label"),
]


@pytest.mark.parametrize(("content", "message"), FOREIGN)
def test_a_foreign_batch_is_one_line_and_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str
) -> None:
    """Even where its MD5 is the expected one."""
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.parent.mkdir()
    file.write_bytes(content(tmp_path / "mark"))
    announce(monkeypatch, "cifar10", test=[(file.name, md5_of(file))])

    with pytest.raises(BenchError, match=message) as caught:
        load("cifar10", "test", data=tmp_path)

    assert str(caught.value).startswith(f"{file} is no batch of images (")
    assert str(caught.value).endswith(f": unpack cifar-10-python.tar.gz into {tmp_path} again")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mark").exists()


def test_a_batch_with_code_is_not_even_read_where_its_md5_is_another(batches: Path, tmp_path: Path) -> None:
    """The MD5 comes first."""
    file = batches / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(pickle.dumps(full(Trap(tmp_path / "mark")), 2))

    with pytest.raises(BenchError, match=rf"^{file} is damaged \(expected md5"):
        load("cifar10", "test", data=batches)
    assert not (tmp_path / "mark").exists()


def test_a_batch_of_python_2_is_read(tmp_path: Path) -> None:
    """The published batches hold byte strings of Python 2, in C or in Fortran order."""

    def text(word: bytes) -> bytes:
        return b"U" + bytes([len(word)]) + word

    pixels = np.arange(6144, dtype=np.uint16).astype(np.uint8).reshape(2, 3072)
    for order, flag in (("C", b"\x89"), ("F", b"\x88")):
        raw = pixels.tobytes(order=order)
        array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        kind = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
        kind += b"J\xff\xff\xff\xffK\x00tb"
        array += b"(K\x01(K\x02M\x00\x0ct" + kind + flag + b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
        content = b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](K\x03K\x08e"
        content += text(b"filenames") + b"](" + text(b"cat_s_000907.png") + text(b"ship_s_000021.png") + b"eu."

        batch = parse(content, labels="labels", classes=10)

        assert list(batch.names) == ["cat_s_000907", "ship_s_000021"]
        assert batch.labels.tolist() == [3, 8]
        np.testing.assert_array_equal(batch.pixels.reshape(2, 3072), pixels)


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
