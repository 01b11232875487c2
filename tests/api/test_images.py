"""The images of a cell are read beside those that they were made from, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import bench
from bench.api.images import Images, exactly, images_of, save_images
from bench.datasets.digits import digits
from tests.api.nets import Templates, Watcher, own
from tests.report.figures.drawn import result

QUICK = {"attacks": "fgsm", "threats": "Linf:0.02", "checks": "none", "watcher": Watcher()}


def test_without_the_clean_ones_they_are_those_of_the_dataset(tmp_path):
    """A folder keeps none of its own: the ones of its name, if they are the same."""
    bench.evaluate(Templates(), **QUICK, n=8, results=tmp_path)

    found = bench.load(tmp_path).images()

    assert np.array_equal(found.clean, digits("test").first(8).x)
    assert found.adversarial.shape == found.clean.shape


def test_other_images_of_that_name_are_not_taken_for_them(tmp_path, monkeypatch):
    results = bench.evaluate(Templates(), **QUICK, n=8, results=tmp_path)
    monkeypatch.setattr("bench.api.images.load", lambda *_, n: digits("train").first(n))

    with pytest.raises(bench.BenchError, match="the images of 'digits' here are not those of model x fgsm"):
        images_of(results.cells, results.store, digits("train").first(8))


def test_where_none_are_kept_it_says_so(tmp_path):
    results = bench.evaluate(Templates(), **QUICK, dataset=own(), results=tmp_path)
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()

    with pytest.raises(bench.BenchError, match="no images are kept of these cells"):
        results.images()


def test_a_cell_without_verdicts_is_not_taken_for_one_whose_images_are_left_out(tmp_path):
    """A killed run asked for it."""
    bench.evaluate(Templates(), **QUICK, n=8, results=tmp_path)
    next(tmp_path.rglob("fgsm.*.json")).unlink()

    with pytest.raises(
        bench.BenchError, match=r"model x fgsm \(Linf:0.02\) has no verdicts: finish it with 'bench run'"
    ):
        bench.load(tmp_path).images()


def test_cells_that_differ_in_n_and_seed_alone_are_told_apart(tmp_path):
    for n, seed in ((4, 0), (8, 3)):
        bench.evaluate(Templates(), **QUICK, n=n, seed=seed, results=tmp_path)

    with pytest.raises(bench.BenchError, match="these are 2 cells") as caught:
        bench.load(tmp_path).images("model", "fgsm", "Linf:0.02")

    assert "model x fgsm (Linf:0.02) n=4 seed 0" in str(caught.value)
    assert "model x fgsm (Linf:0.02) n=8 seed 3" in str(caught.value)
    assert "each needs a folder of its own" in str(caught.value)


def test_saved_arrays_are_the_images_and_need_no_pickle(tmp_path):
    """With the ids of the images; the picture beside them opens and has a column for each."""
    results = bench.evaluate(Templates(), **QUICK, n=8, results=tmp_path / "kept")

    picture, arrays = results.save_images(tmp_path / "out" / "deep")

    held, wanted = np.load(arrays, allow_pickle=False), results.images()
    assert sorted(held.files) == ["adversarial", "clean", "ids", "labels", "predictions"]
    for name, array in wanted._asdict().items():
        assert np.array_equal(held[name], array), name
    assert held["ids"].tolist() == list(digits("test").first(8).ids)
    with Image.open(picture) as image:
        assert image.size[0] == int(469 / 72.27 * 300)
    assert sorted(each.name for each in arrays.parent.iterdir()) == sorted([picture.name, arrays.name])


def test_the_same_images_give_the_same_bytes(tmp_path):
    results = bench.evaluate(Templates(), **QUICK, n=8, results=tmp_path / "kept")

    once, again = ([path.read_bytes() for path in results.save_images(tmp_path / name)] for name in "ab")

    assert once == again


def test_a_label_of_others_names_a_file_in_the_folder_and_no_other(tmp_path):
    """Whatever a label holds, both files lie in the folder, and two labels never in one file."""
    labels = ["../../x", "..|..|x", "a\nb\x1b[31m", "$x$", "/etc/passwd"]
    some = np.zeros((2, 1, 4, 4), np.float32)
    images = Images(some, some, np.zeros(2, np.int64), np.zeros((2, 2), np.int64))

    for label in labels:
        save_images(result(label, label, "Linf:0.1", None).cell, images, ["a", "b", "c"], tmp_path / "out")

    assert len(list((tmp_path / "out").iterdir())) == 2 * len(labels)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_label_stands_for_itself_before_it_stands_for_a_family():
    def cell(defense):
        return result(defense, "fgsm", "Linf:0.1", None)

    plain, other = cell("atop"), cell("atop[rt=2]")

    assert exactly([plain, other], "atop", "") == [plain]
    assert exactly([other], "atop", "") == [other]
    assert exactly([plain, other], "", "fgsm") == [plain, other]
