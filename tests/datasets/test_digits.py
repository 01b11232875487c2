from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.datasets.load import load
from bench.errors import BenchError

SIZES = {"test": 512, "validation": 256, "train": 1029}

# Ids, labels and pixels of the 512 test images. If this changes, every published number changes.
TEST_DIGEST = "0648cc0eb0d76223d83f666865a83c6d59699a22aeb1d03bc665ea805e2d3030"


def test_the_splits_of_digits_are_all_of_it_and_disjoint() -> None:
    """The 1,797 digits fall into 512 test, 256 validation and 1,029 training images; none twice."""
    ids = {split: set(load("digits", split).ids) for split in SIZES}

    assert {split: len(members) for split, members in ids.items()} == SIZES
    assert len(set.union(*ids.values())) == 1797
    assert not any(one & other for one, other in itertools.combinations(ids.values(), 2))


@pytest.mark.parametrize("n", [10, 100, 512])
def test_every_prefix_of_the_digits_test_set_is_balanced(n: int) -> None:
    """Whatever n, no class has two examples more than another."""
    counts = np.bincount(load("digits", "test", n=n).y, minlength=10)

    assert counts.max() - counts.min() <= 1


def test_digits_are_the_same_everywhere() -> None:
    """The digest of the test set is the one that the published numbers were measured on."""
    examples = load("digits", "test")

    assert examples.digest == TEST_DIGEST


def test_digits_are_gray_images_in_the_unit_box() -> None:
    """Float32, one channel, 8x8, in [0, 1], with both ends in use."""
    x = load("digits", "train").x

    assert x.dtype == np.float32
    assert x.shape == (1029, 1, 8, 8)
    assert (x.min(), x.max()) == (0.0, 1.0)


@pytest.mark.parametrize("n", [0, -1, 513])
def test_more_digits_than_there_are_is_an_error_with_the_range(n: int) -> None:
    """An impossible n is one line that says what is possible."""
    with pytest.raises(BenchError, match=rf"^n={n} is out of range: digits test holds 1 to 512 images$"):
        load("digits", "test", n=n)
