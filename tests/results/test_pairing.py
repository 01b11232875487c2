"""Which images two slices share, and their verdicts."""

import numpy as np

from bench.results.cell import Slice
from bench.results.outcome import Verdicts
from bench.results.pairing import only, pairs_of


def test_images_are_paired_by_id_and_content_wherever_they_stand():
    one = Slice("digits", "test", 3, "one", ("a:1", "b:2", "c:3"))
    other = Slice("digits", "test", 4, "other", ("c:3", "b:x", "z:9", "a:1"))

    at = pairs_of(one, other)

    assert [index.tolist() for index in at] == [[0, 2], [3, 0]]
    counts = np.array([5, 6, 7], dtype=np.uint8)
    assert only(Verdicts(9, counts, counts - 1), at[0]).adversarial.tolist() == [4, 6]


def test_the_same_slice_is_paired_though_its_images_are_not_known():
    assert [index.tolist() for index in pairs_of(Slice("d", "t", 2, "x"), Slice("d", "t", 2, "x"))] == [[0, 1]] * 2


def test_slices_of_unknown_images_have_none_in_common():
    assert [len(index) for index in pairs_of(Slice("d", "t", 2, "x"), Slice("d", "t", 2, "y"))] == [0, 0]
