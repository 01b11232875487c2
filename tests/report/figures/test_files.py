"""Files of figures: the same bytes each time, whole or not at all, readable by others."""

import re

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError
from bench.report.figures.cost import cost
from bench.report.figures.files import SUFFIXES, save
from bench.report.figures.forest import forest
from bench.report.figures.gallery import gallery
from bench.report.figures.matrix import matrix
from tests.report.figures.drawn import results


@pytest.mark.parametrize("draw", [matrix, cost])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bytes_repeat_and_tell_neither_time_nor_version(suffix, draw, tmp_path):
    one, two = (save(draw(results()), tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")

    assert one == two
    assert not re.search(rb"CreationDate|dc:date|Matplotlib v|matplotlib\.org/,|[12][09]\d\d-\d\d-\d\dT", one)


def test_png_has_300_dots_per_inch_and_a_white_ground(tmp_path):
    figure = matrix(results(), width="column")

    with Image.open(save(figure, tmp_path / "a.png")) as image:
        assert image.size == tuple(int(side * 300 + 1e-6) for side in figure.get_size_inches())
        assert image.size[0] == int(229 / 72.27 * 300)
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


@pytest.mark.parametrize(("width", "points"), [("column", 229), ("page", 469), ("240", 240)])
@pytest.mark.parametrize("draw", [matrix, forest, cost])
def test_a_pdf_is_as_wide_as_asked_for(draw, width, points, tmp_path):
    """PDF counts 72 points in an inch, TeX 72.27."""
    content = save(draw(results(), width=width), tmp_path / "a.pdf").read_bytes()

    (box,) = re.findall(rb"/MediaBox \[ ?([-\d. ]+?) ?\]", content)
    left, bottom, right, _ = map(float, box.split())
    assert (left, bottom) == (0, 0)
    assert right * 72.27 / 72 == pytest.approx(points, abs=1e-3)


def test_pdf_has_no_type_3_fonts(tmp_path):
    content = save(matrix(results()), tmp_path / "a.pdf").read_bytes()

    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content
    assert b"/FontFile2" in content


def test_svg_files_look_alike_without_the_font(tmp_path):
    assert "<text" not in save(matrix(results()), tmp_path / "a.svg").read_text()


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.pdf.exe", "pdf"])
def test_another_suffix_is_a_mistake_before_anything_is_drawn(name, tmp_path):
    with pytest.raises(BenchError, match=r"end its name in \.pdf, \.png, \.svg, \.pgf"):
        save(matrix(results()), tmp_path / name)


def test_what_cannot_be_written_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(matrix(results()), tmp_path / "a.pdf")
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchError, match=r"cannot be written .* name another file"):
        save(cost(results()), path)

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.pdf"]


def test_images_of_pixels_have_no_pgf(tmp_path):
    some = np.zeros((2, 1, 4, 4), np.float32)

    with pytest.raises(BenchError, match=r"take \.pdf instead"):
        save(gallery(some, some, np.zeros(2, int), np.zeros((2, 2), int)), tmp_path / "a.pgf")
