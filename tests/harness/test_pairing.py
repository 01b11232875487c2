"""Which image each example of an archive belongs to, and every way in which an archive does not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.datasets.digits import digits
from bench.datasets.foreign import Foreign
from bench.datasets.load import published_order
from bench.errors import BenchError
from bench.harness.pairing import paired
from bench.threats import ThreatModel

WHOLE = digits("test")
EXAMPLES = WHOLE.first(24)
ORDER = published_order("digits", "test")
LINF = ThreatModel.parse("Linf:0.2")
# Half of the bound away from each image of the whole test set, in the order of this benchmark.
X_ADV = (WHOLE.x + np.where(WHOLE.x > 0.5, -0.1, 0.1)).astype(np.float32)


def pair(x_adv, threat=LINF, examples=EXAMPLES, **beside):
    return paired(Foreign("", np.asarray(x_adv), **beside), "import:mine", examples, ORDER, threat, Path("a.pt"))


def in_published_order(array):
    row = {name: index for index, name in enumerate(WHOLE.ids)}
    return array[[row[name] for name in ORDER]]


def holds(found, rows):
    assert found.rows.tolist() == list(rows)
    assert np.array_equal(found.x_adv, X_ADV[list(rows)])
    assert found.fingerprints == tuple(EXAMPLES.fingerprints[row] for row in rows)


def test_without_a_word_the_order_is_that_of_the_dataset():
    """As RobustBench asks for it: a tensor as large as the test set."""
    found = pair(in_published_order(X_ADV))

    holds(found, range(24))
    assert found.held == 512
    assert found.how == ("paired by the order of the dataset",)


def test_else_the_order_is_that_of_this_benchmark():
    found = pair(X_ADV[:10])

    holds(found, range(10))
    assert found.how == ("paired by the order of this benchmark",)


def test_ids_and_indices_pair_in_any_order():
    rows = [20, 3, 11]
    ids = tuple(EXAMPLES.ids[row] for row in rows)

    for beside in ({"ids": ids}, {"indices": np.array([ORDER.index(name) for name in ids])}):
        holds(pair(X_ADV[rows], **beside), sorted(rows))


def test_clean_images_pair_and_those_beyond_the_run_are_left_out():
    rows = [400, 7, 2]

    found = pair(X_ADV[rows], clean=WHOLE.x[rows])

    holds(found, [2, 7])
    assert found.held == 3


def test_an_image_that_is_there_twice_is_paired_once_with_each():
    twice = replace(EXAMPLES, x=EXAMPLES.x[[0, 0, 1]], y=EXAMPLES.y[[0, 0, 1]], ids=EXAMPLES.ids[:3])

    found = pair(X_ADV[[0, 0]], clean=WHOLE.x[[0, 0]], examples=twice)

    assert found.rows.tolist() == [0, 1]


def test_two_examples_for_one_image_are_refused_as_they_are_by_indices():
    """Restarts one after the other: to keep the first of them could drop the only one that breaks the image."""
    rows = [4, 5, 6, 4]

    for beside in ({"clean": EXAMPLES.x[rows]}, {"ids": tuple(EXAMPLES.ids[row] for row in rows)}):
        with pytest.raises(BenchError, match="one example for each"):
            pair(X_ADV[rows], **beside)
    # Of an image beyond the run nothing is kept, so nothing is lost.
    holds(pair(X_ADV[[4, 40, 40]], clean=WHOLE.x[[4, 40, 40]]), [4])


def test_bytes_are_scaled_and_channels_that_come_last_are_moved():
    """A byte is a 255th, as in the images of the dataset."""
    images = np.round(255 * X_ADV[:4]).astype(np.uint8)

    found = pair(np.moveaxis(images, 1, 3), ids=tuple(EXAMPLES.ids[:4]))

    assert np.array_equal(found.x_adv, images.astype(np.float32) / np.float32(255))
    assert found.how[1:] == ("its channels came last and were moved", "its bytes were divided by 255")


def test_an_archive_of_floats_of_any_width_is_float32():
    assert pair(X_ADV[:4].astype(np.float64)).x_adv.dtype == np.float32


def _changed(array, **places):
    copy = np.array(array)
    copy.reshape(-1)[places.get("at", 0)] = places["to"]
    return copy


FIRST = X_ADV[:24]
OUT = _changed(FIRST, to=EXAMPLES.x.reshape(-1)[0] + np.float32(0.25))


@pytest.mark.parametrize(
    ("x_adv", "beside", "told"),
    [
        (OUT, {}, "^V04: 1 of 24 examples leave Linf:0.2: the largest distance is 0.25"),
        (FIRST[::-1], {}, "^V04: .*nearer to another image: it is in another order"),
        (FIRST[::-1], {"ids": tuple(EXAMPLES.ids)}, "^V04: .*it is in another order"),
        (np.roll(in_published_order(X_ADV), 1, 0), {}, "^V04: "),
        (_changed(FIRST, to=np.nan), {}, "^V02: x_adv holds NaN"),
        (_changed(FIRST, to=-0.01), {}, r"^V03: x_adv leaves \[0, 1\]"),
        (FIRST * 255, {}, "^V03: .*divide by 255, or save bytes"),
        (np.round(FIRST * 255).astype(np.int64), {}, "^V01: .*int64: give floats"),
        (FIRST[:, 0], {}, r"^V02: .*give \[n, 1, 8, 8\]"),
        (FIRST.reshape(24, 64), {}, "^V02: "),
        (FIRST[:0], {}, "^V02: "),
        (np.repeat(FIRST, 3, axis=1), {}, "^V02: "),
        (np.concatenate([X_ADV, X_ADV]), {}, "holds 1024 images, the test set 512"),
        (FIRST, {"labels": EXAMPLES.y[:23]}, "24 adversarial images and 23 labels"),
        (FIRST, {"labels": (EXAMPLES.y + 1) % 10}, "24 of 24 labels are not the dataset's"),
        (FIRST, {"labels": _changed(EXAMPLES.y, at=5, to=11)}, "1 of 24 labels .*not 11"),
        (FIRST, {"labels": EXAMPLES.y.astype(float)}, "whole numbers, one per image, not float64"),
        (FIRST, {"ids": ("nobody", *EXAMPLES.ids[1:])}, "'nobody' is no image of digits test"),
        (FIRST[:2], {"ids": (EXAMPLES.ids[0],) * 2}, "names an image twice"),
        (FIRST[:2], {"indices": np.array([0, 512])}, "from 0 to 511"),
        (FIRST[:2], {"indices": np.array([0.0, 1.0])}, "whole numbers from 0 to 511"),
        (X_ADV[100:102], {"ids": tuple(WHOLE.ids[100:102])}, "covers none of the first 24 images"),
        (FIRST[:3], {"ids": tuple(EXAMPLES.ids[:3]), "clean": EXAMPLES.x[1:4]}, "3 of 3 clean images are not those"),
        (FIRST[:3], {"clean": EXAMPLES.x[:3] / 2}, "covers none"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(x_adv, beside, told):
    with pytest.raises(BenchError, match=told) as error:
        pair(x_adv, **beside)

    assert "\n" not in str(error.value)


def test_a_permuted_archive_is_refused_even_if_the_bound_would_allow_it():
    """In so large a ball every image is within the bound of every other; where each is nearest tells."""
    with pytest.raises(BenchError, match="24 of 24 examples are nearer to another image"):
        pair(EXAMPLES.x[::-1], threat=ThreatModel.parse("Linf:1"), ids=tuple(EXAMPLES.ids))


def test_few_examples_that_are_nearer_to_another_image_are_allowed_and_said():
    """An attack with a large bound may well end nearer to the image of another class."""
    toward = (WHOLE.x[0] + 0.6 * (WHOLE.x[1] - WHOLE.x[0])).astype(np.float32)
    x_adv = np.concatenate([toward[None], FIRST[1:]])

    found = pair(x_adv, threat=ThreatModel.parse("Linf:0.9"))

    assert found.how[-1] == "1 of 24 examples are nearer to another image than to their own"


def test_the_tolerance_is_that_of_the_verifier():
    """Rounding to float32 is allowed, ten times as much is not."""
    at = EXAMPLES.x[:1] + np.float32(0.2)
    assert pair(np.clip(at, 0, 1) * (at <= 1) + EXAMPLES.x[:1] * (at > 1)).rows.tolist() == [0]

    with pytest.raises(BenchError, match="V04"):
        pair(np.where(at <= 0.9, at + np.float32(1e-5), EXAMPLES.x[:1]))


def test_outside_the_lp_balls_nothing_can_be_verified():
    with pytest.raises(BenchError, match=r"^V07: an archive brings no proof .* stadv:0.4"):
        pair(FIRST, threat=ThreatModel.parse("stadv:0.4"))
