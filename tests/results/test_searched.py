"""What a search tells of itself."""

import numpy as np
import pytest

from bench.results.outcome import Verdicts
from bench.results.searched import Searched, Tried, accuracy

FOUND = Tried(("across-draws", "bpda[eot=4]"), 16, 0.123456, 1600)
OUT = Tried(("blind",), 0, 1.0, 0, "it has no base")


def searched(*tried):
    where = ("mine", "Linf:0.1", "digits", 16, 3, 1000, "successive halving")
    return Searched(*where, tried, 9000, FOUND)


def test_the_accuracy_is_the_share_of_correct_draws_over_parts_of_any_size():
    """Three images with 4, 0 and 1 of 4 draws right, in two parts: 5 of 12."""
    clean = np.full(3, 4, np.uint8)
    parts = [Verdicts(4, clean[:1], np.array([4], np.uint8)), Verdicts(4, clean[1:], np.array([0, 1], np.uint8))]

    assert accuracy(parts) == pytest.approx(5 / 12)
    assert accuracy([]) == 1.0


def test_the_record_counts_what_was_tried_and_what_was_left_out():
    record = searched(FOUND, OUT, FOUND).record()

    assert (record["tried"], record["left_out"]) == (2, 1)
    assert (record["validation_images"], record["validation_accuracy"]) == (16, 0.1235)
    assert FOUND.label == "across-draws + bpda[eot=4]"
