"""What comes back from a borrowed GPU: bounded files, each with its place at home."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from bench.datasets.load import load
from bench.errors import BenchError
from gpu import parcel
from gpu.archives import lay_out
from gpu.rehearsal import make_archives


@pytest.fixture
def made(tmp_path):
    """Weights of 40 MiB that do not compress, verdicts, and images of a dataset that must stay."""
    weights, results = tmp_path / "weights", tmp_path / "results"
    (results / "deep").mkdir(parents=True)
    weights.mkdir()
    noise = np.random.default_rng(0)
    for name in ("at", "standard"):
        (weights / f"{name}.safetensors").write_bytes(noise.bytes(20 << 20))
        (weights / f"{name}.json").write_text("{}")
    (weights / "at.123.unfinished").write_bytes(noise.bytes(1 << 20))
    (results / "deep" / "cell.json").write_text("{}")
    (results / "deep" / "cell.safetensors").write_bytes(b"images")
    return {"weights/cifar10": weights, "results/cifar10-resnet-18": results}


def test_a_parcel_keeps_its_bounds_and_comes_home_whole(made, tmp_path):
    """At most 8 files of at most 16 MiB; every byte of the weights; no image, no journal."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "log").write_text("said")

    written = parcel.pack("cifar10", made, tmp_path / "out")
    home = parcel.unpack(tmp_path / "out", tmp_path / "home")

    assert [path.name for path in written] == ["cifar10.zip.0", "cifar10.zip.1", "cifar10.zip.2"]
    assert max(path.stat().st_size for path in written) <= 16 << 20
    assert sorted(str(path.relative_to(tmp_path / "home")) for path in home) == [
        "defenses/weights/cifar10/at.json",
        "defenses/weights/cifar10/at.safetensors",
        "defenses/weights/cifar10/standard.json",
        "defenses/weights/cifar10/standard.safetensors",
        "results/cifar10-resnet-18/deep/cell.json",
    ]
    for name in ("at", "standard"):
        sent, come = (folder / f"{name}.safetensors" for folder in (made["weights/cifar10"], home[0].parent))
        assert sent.read_bytes() == come.read_bytes()


def test_what_does_not_fit_is_said_before_anything_is_written(made, tmp_path, monkeypatch):
    """A ninth file would not come back."""
    monkeypatch.setattr(parcel, "PART", 4 << 20)

    with pytest.raises(parcel.TooLargeError, match="40 MiB do not fit into 8 files"):
        parcel.pack("cifar10", made, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_log_that_lies_there_already_counts(made, tmp_path, monkeypatch):
    """Eight parts would fit, beside a log they do not."""
    monkeypatch.setattr(parcel, "PART", (40 << 20) // 8 + (1 << 16))
    assert len(parcel.pack("cifar10", made, tmp_path / "alone")) == 8
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cifar10.log").write_text("said")

    with pytest.raises(parcel.TooLargeError, match="do not fit into 8 files"):
        parcel.pack("cifar10", made, tmp_path / "out")


def test_a_smaller_parcel_leaves_no_part_of_a_larger_one(made, tmp_path):
    """Parts of the last call would be glued to those of this one."""
    parcel.pack("cifar10", made, tmp_path / "out")
    (made["weights/cifar10"] / "at.safetensors").unlink()
    parcel.pack("cifar10", made, tmp_path / "out")

    assert len(list((tmp_path / "out").iterdir())) == 2
    assert parcel.unpack(tmp_path / "out", tmp_path / "home")


@pytest.mark.parametrize("spoil", ["missing", "none", "outside", "elsewhere"])
def test_a_spoiled_parcel_is_refused_in_one_line(spoil, made, tmp_path):
    """A part that did not come, and members that would leave their place."""
    out = tmp_path / "out"
    parcel.pack("cifar10", made, out)
    if spoil == "missing":
        (out / "cifar10.zip.1").unlink()
    elif spoil == "none":
        for path in out.iterdir():
            path.unlink()
    else:
        name = "weights/../../evil.py" if spoil == "outside" else "benchmark/evil.py"
        with zipfile.ZipFile(out / "evil.zip.0", "w") as archive:
            archive.writestr(name, "")

    with pytest.raises(SystemExit, match=r"missing|holds no parts|has no place"):
        parcel.unpack(out, tmp_path / "home")

    assert not list(tmp_path.rglob("evil.py"))


def test_archives_may_come_in_several_calls(tmp_path):
    """What was unpacked stays when its archive has gone; what is new is added."""
    first, second, data = tmp_path / "first", tmp_path / "second", tmp_path / "data"
    first.mkdir(), second.mkdir()
    make_archives(first, "cifar10")
    (first / "cifar10-train-1.zip").rename(second / "cifar10-train-1.zip")

    before = lay_out(first, data)
    after = lay_out(second, data)
    without = lay_out(None, data)

    assert before == {"cifar10 train": 80, "cifar10 test": 30}
    assert after == without == {"cifar10 train": 160, "cifar10 test": 30}


def test_archives_of_imagenette_name_their_own_folder(tmp_path):
    """As they are shared: `imagenette2-160/val/WNID/IMAGE`, which `--data` finds."""
    folder, data = tmp_path / "archives", tmp_path / "data"
    folder.mkdir()
    make_archives(folder, "imagenette")

    assert lay_out(folder, data) == {"imagenette train": 40, "imagenette val": 10}
    assert (data / "imagenette2-160" / "val" / "n01440764" / "0000.png").is_file()
    assert len(load("imagenette-160[resize=32]", "test", data=data)) == 10


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("imagenette-x.zip", "elsewhere/val/n01440764/a.png"),
        ("imagenette-x.zip", "imagenette2-160/../../a.png"),
        ("imagenette-x.zip", "/imagenette2-160/a.png"),
        ("cifar10-x.zip", "/etc/a.png"),
        ("cifar10-x.zip", "test/../../a.png"),
        ("cifar10-x.zip", "test\\..\\a.png"),
    ],
)
def test_a_member_that_leaves_its_dataset_is_refused(name, member, tmp_path):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr(member, "")

    with pytest.raises(BenchError, match="does not lie in"):
        lay_out(tmp_path, tmp_path / "deep" / "data")

    assert not list(tmp_path.rglob("a.png"))
