"""Corrupted images: the right version of the right image, in both published layouts."""

import numpy as np
import pytest
from PIL import Image

from bench.datasets import corruptions
from bench.datasets.corruptions import Shift, names
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.types import ImageSpec

IDS = ["cat/a", "dog/b", "cat/c", "dog/d"]


def pixels(place, severity):
    """An image that tells which one it is: every value is 10 * its place + severity."""
    return np.full((32, 32, 3), 10 * place + severity, np.uint8)


@pytest.fixture
def examples():
    """The third, the first and the last of four images."""
    chosen = [2, 0, 3]
    x = np.zeros((3, 3, 32, 32), np.float32)
    y = np.array([chosen_ % 2 for chosen_ in chosen])
    return Examples("cifar10", "test", [IDS[place] for place in chosen], x, y, ImageSpec((3, 32, 32), 10))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """`fog.npy` and `labels.npy`: four images at five severities."""
    monkeypatch.setattr(corruptions, "_places", lambda examples, data: {name: place for place, name in enumerate(IDS)})
    stack = np.stack([pixels(place, severity) for severity in range(1, 6) for place in range(4)])
    np.save(tmp_path / "fog.npy", stack)
    np.save(tmp_path / "labels.npy", np.tile([0, 1, 0, 1], 5))
    return tmp_path


@pytest.fixture
def folders(tmp_path):
    """`fog/1/cat/a.png` and so on."""
    for severity in range(1, 6):
        for place, name in enumerate(IDS):
            file = tmp_path / "fog" / str(severity) / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(place, severity)).save(file)
    return tmp_path


@pytest.mark.parametrize("layout", ["published", "folders"])
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_each_image_gets_its_own_corrupted_version(request, examples, layout, severity):
    """Whatever order the examples are in."""
    folder = request.getfixturevalue(layout)

    found = Shift(str(folder), "fog").images(examples, severity)

    assert names(folder) == ["fog"]
    assert found.dtype == np.float32
    assert found.shape == (3, 3, 32, 32)
    assert np.rint(found[:, 0, 0, 0] * 255).tolist() == [20 + severity, severity, 30 + severity]


def test_labels_of_other_images_are_noticed(published, examples):
    np.save(published / "labels.npy", np.tile([1, 0, 0, 1], 5))

    with pytest.raises(BenchError, match="made from other images"):
        Shift(str(published), "fog").images(examples, 2)


def test_a_file_of_another_length_is_refused(published, examples):
    np.save(published / "fog.npy", np.zeros((4, 32, 32, 3), np.uint8))

    with pytest.raises(BenchError, match=r"not uint8\[20, H, W, C\]"):
        Shift(str(published), "fog").images(examples, 2)


def test_a_pickle_is_never_opened(published, examples):
    """An object array could execute code when it is read."""
    np.save(published / "fog.npy", np.array([{"a": 1}] * 20, dtype=object))

    with pytest.raises(BenchError, match="is damaged"):
        Shift(str(published), "fog").images(examples, 2)


def test_a_missing_image_is_named(folders, examples):
    (folders / "fog" / "2" / "dog" / "d.png").unlink()

    with pytest.raises(BenchError, match="holds no dog/d"):
        Shift(str(folders), "fog").images(examples, 2)


def test_an_image_of_another_size_is_refused(folders, examples):
    for name in IDS:
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folders / "fog" / "2" / f"{name}.png")

    with pytest.raises(BenchError, match=r"has images \(3, 16, 16\)"):
        Shift(str(folders), "fog").images(examples, 2)


@pytest.mark.parametrize("severity", [0, 6])
def test_there_are_five_severities(folders, examples, severity):
    with pytest.raises(BenchError, match="unknown severity"):
        Shift(str(folders), "fog").images(examples, severity)


def test_a_folder_without_corruptions_is_a_mistake(tmp_path):
    with pytest.raises(BenchError, match="holds no NAME"):
        names(tmp_path)
    with pytest.raises(BenchError, match="is no folder"):
        names(tmp_path / "nowhere")


def test_npy_files_belong_to_cifar_alone(published, examples, monkeypatch):
    """Their order is that of CIFAR's test batch: digits have no place in it."""
    monkeypatch.undo()
    others = Examples("digits", "test", examples.ids, examples.x, examples.y, examples.spec)

    with pytest.raises(BenchError, match="not digits test"):
        Shift(str(published), "fog").images(others, 1)
