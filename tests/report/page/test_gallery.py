"""The gallery: what the data URIs show, and how large they get."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from bench.report.page.gallery import MOST, Pictures, png, shelves


def pixels(uri):
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def pictures(k=8, side=8, channels=1, eps=0.1):
    draw = np.random.default_rng(0)
    clean = draw.random((k, channels, side, side), dtype=np.float32)
    adversarial = np.clip(clean + draw.choice([-eps, eps], clean.shape), 0, 1).astype(np.float32)
    labels = np.arange(k)
    return Pictures("at", "pgd", "Linf:0.1", "0" * 16, clean, adversarial, labels, np.stack([labels, labels + 1]))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels_to_half_a_gray_level(channels):
    image = np.random.default_rng(1).random((channels, 5, 7))

    shown = pixels(png(image)) / 255

    assert shown.shape == ((5, 7) if channels == 1 else (5, 7, 3))
    assert np.abs(shown - (image[0] if channels == 1 else image.transpose(1, 2, 0))).max() <= 0.5 / 255 + 1e-9


def test_other_channels_are_shown_by_their_mean_and_values_outside_are_cut():
    assert pixels(png(np.stack([np.full((2, 2), 0.2), np.full((2, 2), 0.6)]))).tolist() == [[102, 102]] * 2
    assert pixels(png(np.array([[[-1.0, 2.0]]]))).tolist() == [[0, 255]]


def test_the_difference_is_gray_where_nothing_changed_and_its_largest_change_is_black_or_white():
    part = pictures(k=1)
    part.adversarial[:] = part.clean
    part.adversarial[0, 0, 2, 3] += 0.1
    (triple,) = shelves([part])[0].triples
    shown = pixels(triple.difference)

    assert shown[2, 3] == 255
    assert np.delete(shown.ravel(), 2 * 8 + 3).tolist() == [128] * 63
    assert triple.magnified == pytest.approx(1 / (2 * 0.1), abs=0.06)


def test_an_image_that_the_attack_left_alone_has_no_difference():
    part = pictures(k=1, eps=0.0)

    assert shelves([part])[0].triples[0].magnified == 0.0


def test_broken_means_right_before_and_wrong_after():
    part = pictures(k=4)
    part.predictions[:] = [[0, 9, 2, 3], [1, 9, 2, -1]]

    assert [triple.broken for triple in shelves([part])[0].triples] == [True, False, False, False]


@pytest.mark.parametrize(("side", "channels", "cells"), [(8, 1, 12), (32, 3, 12), (224, 3, 12)])
def test_the_images_stay_within_the_budget_and_every_cell_keeps_some(side, channels, cells):
    """Noise is the worst case of a PNG."""
    budget = 600_000
    found = shelves([pictures(side=side, channels=channels)] * cells, budget)
    size = sum(len(uri) for shelf in found for t in shelf.triples for uri in (t.clean, t.adversarial, t.difference))

    assert 0 < size <= budget
    assert len({len(shelf.triples) for shelf in found}) == 1
    assert len(found) == cells or side == 224
    assert len(found[0].triples) == (MOST if side <= 32 else 1)


def test_large_images_are_reduced_and_small_ones_enlarged_by_whole_numbers():
    small, large = shelves([pictures(side=8), pictures(side=224, k=1)])

    assert (small.side, small.reduced) == (80, False)
    assert (large.side, large.reduced) == (112, True)
    assert pixels(large.triples[0].clean).shape == (112, 112)
