"""The images of a cell are read beside those that they were made from, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

import bench
from bench.api.images import images_of
from bench.datasets.digits import digits
from tests.api.nets import Templates, Watcher, own

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
