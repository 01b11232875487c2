"""The pickled batches of CIFAR, read without running anything in them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets.batches import parse
from bench.datasets.cifar import CIFARS
from bench.datasets.load import load
from bench.errors import BenchError
from tests.datasets.pickled import COUNT, announce, md5_of


@pytest.mark.slow
def test_files_and_md5s_are_those_of_torchvision() -> None:
    """The numbers that published batches are checked by."""
    from bench import _compat

    for name, theirs in (("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")):
        kind = getattr(_compat.torchvision().datasets, theirs)
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
