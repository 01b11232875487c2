"""Imagenette in torchvision's folders, made small."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets.framing import Framing
from bench.datasets.imagenette import CLASSES, IMAGENETTES, label, listing
from bench.datasets.load import load, name_in_paths, shape_of
from bench.errors import BenchError


def jpeg(size: tuple[int, int], seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture
def imagenette(tmp_path: Path) -> Path:
    """Six images a class to train on, five to test on, in three sizes; one of them gray."""
    for part, count in (("train", 6), ("val", 5)):
        for place, wnid in enumerate(CLASSES):
            folder = tmp_path / "imagenette2-160" / part / wnid
            folder.mkdir(parents=True)
            for index in range(count):
                size = [(160, 160), (213, 160), (160, 240)][(place + index) % 3]
                (folder / f"{wnid}_{part}_{index}.JPEG").write_bytes(jpeg(size, place * 100 + index))
    gray = tmp_path / "imagenette2-160" / "val" / "n03888257" / "n03888257_val_0.JPEG"
    with Image.open(gray) as image:
        shades = image.convert("L")
    shades.save(gray)
    return tmp_path


def test_images_are_square_and_under_the_labels_of_torchvision(imagenette: Path) -> None:
    """The center 160x160 of each JPEG; the position of its WordNet id is its label."""
    examples = load("imagenette-160", "test", data=imagenette)

    assert examples.dataset == "imagenette-160"
    assert examples.x.shape == (50, 3, 160, 160)
    for name, x, y in zip(examples.ids, examples.x, examples.y, strict=True):
        wnid = name.partition("/")[0]
        with Image.open(imagenette / "imagenette2-160" / "val" / f"{name}.JPEG") as image:
            left, top = (image.width - 160) // 2, (image.height - 160) // 2
            kept = np.asarray(image.convert("RGB"))[top : top + 160, left : left + 160]
        assert list(CLASSES)[y] == wnid
        if image.width != 213:  # an odd border is halved to the even neighbor: test_framing.py
            np.testing.assert_array_equal(x, kept.transpose(2, 0, 1).astype(np.float32) / np.float32(255))


def test_classes_have_names_that_people_know(imagenette: Path) -> None:
    """In the order of the labels."""
    found, _ = listing(IMAGENETTES["imagenette-160"], "test", imagenette)

    assert list(found.classes)[:2] == ["tench", "English springer"]
    assert len(found.classes) == 10


def test_validation_is_held_out_of_train_and_val_is_the_test_set(imagenette: Path) -> None:
    """A tenth of the training images; published numbers are of `val/`."""
    train, validation, test = (
        load("imagenette-160", part, data=imagenette) for part in ("train", "validation", "test")
    )

    assert (len(train), len(validation), len(test)) == (54, 6, 50)
    assert not set(train.ids) & set(validation.ids)
    assert all("_val_" in name for name in test.ids)


def test_the_larger_one_is_256_pixels_wide_as_in_atop(imagenette: Path) -> None:
    """Resize 256, crop 256; other sides on request, under another name."""
    shutil.copytree(imagenette / "imagenette2-160", imagenette / "imagenette2-320")

    usual = load("imagenette-320", "test", n=3, data=imagenette)
    small = load("imagenette-320[resize=128]", "test", n=3, data=imagenette)

    assert (usual.dataset, usual.spec.shape) == ("imagenette-320", (3, 256, 256))
    assert (small.dataset, small.spec.shape) == ("imagenette-320-resize128", (3, 128, 128))


def test_asking_for_the_usual_framing_is_the_usual_dataset() -> None:
    """One set of images has one name."""
    assert label(IMAGENETTES["imagenette-160"], Framing(160)) == "imagenette-160"
    assert label(IMAGENETTES["imagenette-320"], Framing(crop=224)) == "imagenette-320-resize256-crop224"
    assert label(IMAGENETTES["imagenette-160"], Framing(64)) == "imagenette-160-resize64"
    assert label(IMAGENETTES["imagenette-160"], Framing(64, 64)) == "imagenette-160-resize64"
    assert label(IMAGENETTES["imagenette-160"], Framing(64, 48)) == "imagenette-160-resize64-crop48"
    assert label(IMAGENETTES["imagenette-160"], Framing(200)) == "imagenette-160-resize200"


@pytest.mark.parametrize("name", ["imagenette-160", "imagenette-160[resize=64]", "imagenette-160[resize=64,crop=48]"])
def test_the_name_in_a_path_can_be_typed_as_well(imagenette: Path, name: str) -> None:
    """Stored results and folders of weights know no other, and say it in the commands that they propose."""
    asked = load(name, "test", n=10, data=imagenette)
    again = load(asked.dataset, "test", n=10, data=imagenette)

    assert asked.dataset == name_in_paths(name) == name_in_paths(asked.dataset)
    assert (again.dataset, again.digest) == (asked.dataset, asked.digest)
    assert shape_of(asked.dataset) == asked.spec.shape


def test_missing_images_are_one_line_with_every_way_out(tmp_path: Path) -> None:
    """The archive, its MD5, where it belongs, and what works without."""
    with pytest.raises(BenchError) as caught:
        load("imagenette-160", "test", data=tmp_path / "no where")

    assert str(caught.value) == (
        f"no imagenette-160 test images in {tmp_path}/no where (looked for imagenette2-160/val/): set --data or "
        f"$BENCH_DATA to the folder that holds them, run bench download imagenette-160 --data '{tmp_path}/no where', "
        "unpack imagenette2-160.tgz (md5 e793b78cc4c9e9a4ccc0c1155377a412) there by hand, or use --dataset digits"
    )


def test_a_missing_class_is_named(imagenette: Path) -> None:
    """A partly unpacked archive would shift the labels."""
    shutil.rmtree(imagenette / "imagenette2-160" / "val" / "n03000684")

    with pytest.raises(BenchError, match="val lacks the class folder 'n03000684' of imagenette-160"):
        load("imagenette-160", "test", data=imagenette)


def test_128_of_13000_jpegs_cost_128_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one header, that of the first."""
    content = jpeg((160, 160), 0)
    for wnid in CLASSES:
        folder = tmp_path / "imagenette2-160" / "val" / wnid
        folder.mkdir(parents=True)
        for index in range(1300):
            (folder / f"{index}.JPEG").write_bytes(content)
    opened, decoded = [], []
    open_, convert = Image.open, Image.Image.convert
    monkeypatch.setattr(Image, "open", lambda path, *rest: (opened.append(path), open_(path, *rest))[1])
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: (decoded.append(mode), convert(image, mode))[1])

    examples = load("imagenette-160", "test", n=128, data=tmp_path)

    assert len(examples) == len(decoded) == 128
    assert len(opened) == 129
