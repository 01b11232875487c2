"""The gallery shows the pixels it is given, and magnifies what is between them by the factor it prints."""

import numpy as np
import pytest
from matplotlib.image import AxesImage

from bench.errors import BenchError
from bench.report.figures.gallery import gallery, magnification
from tests.report.figures.drawn import HOSTILE, texts


def images(k=5, channels=1, change=0.03):
    draw = np.random.default_rng(0)
    clean = draw.random((k, channels, 8, 8), dtype=np.float32) * 0.8 + 0.1
    moved = clean + draw.choice([-change, change], size=clean.shape).astype(np.float32)
    return clean, moved, np.arange(k), np.stack([np.arange(k), np.full(k, -1)])


def pixels(figure):
    """Every image of the figure, `[k, 3, H, W(, C)]`: clean, adversarial, difference."""
    found = [np.asarray(each.get_array()) for each in figure.findobj(AxesImage)]
    return [found[index : index + 3] for index in range(0, len(found), 3)]


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_and_magnified_differences_are_those_given(channels):
    clean, moved, labels, said = images(channels=channels)
    shown = pixels(gallery(clean, moved, labels, said))
    factor = magnification(clean, moved)

    assert len(shown) == 5
    for index, (one, two, change) in enumerate(shown):
        for drawn, given in ((one, clean), (two, moved), (change, 0.5 + factor * (moved - clean))):
            flat = drawn if channels == 1 else np.moveaxis(drawn, -1, 0)
            assert np.allclose(flat, given[index][0] if channels == 1 else given[index])


@pytest.mark.parametrize(
    ("change", "factor"), [(0.03, 10), (8 / 255, 10), (0.2, 2), (0.5, 1), (0.9, 1), (0.0, 1), (1e-6, 1000)]
)
def test_the_factor_is_the_largest_round_one_that_cuts_nothing_off(change, factor):
    clean = np.zeros((1, 1, 2, 2), np.float32)

    assert magnification(clean, clean + np.float32(change)) == factor


def test_label_and_predictions_stand_below_and_the_factor_beside():
    figure = gallery(*images(), title="at x pgd-20 (Linf:0.03)")

    assert "3: 3 → ?" in texts(figure)
    assert "difference ×10" in texts(figure)
    assert "at x pgd-20 (Linf:0.03)" in texts(figure)


def test_images_that_are_neither_gray_nor_colored_are_a_mistake():
    with pytest.raises(BenchError, match=r"images of shape \[5, 4, 8, 8\] cannot be drawn"):
        gallery(*images(channels=4))


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_of_others_is_plain_text(title):
    assert not any(char < " " for each in texts(gallery(*images(), title=title)) for char in each)
