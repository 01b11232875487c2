"""What every figure has in common."""

import builtins
import sys

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.figures.matrix import matrix
from tests.report.figures.drawn import results


def test_settings_of_the_user_neither_reach_a_figure_nor_change(monkeypatch):
    mine = {"text.usetex": True, "font.size": 30.0, "axes.facecolor": "red"}
    with mpl.rc_context(mine):
        figure = matrix(results())
        after = {name: mpl.rcParams[name] for name in mine}

    assert after == mine
    assert max(each.get_fontsize() for each in figure.axes[0].texts) == style.SIZE
    assert not any(each.get_usetex() for each in figure.axes[0].texts)


def test_no_figure_is_left_in_pyplot():
    matrix(results())

    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch):
    kept = builtins.__import__

    def without(name, *more, **named):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return kept(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BenchError, match=r"pip install 'atop-bench\[report\]'"):
        matrix(results())


@pytest.mark.parametrize(
    ("width", "held"), [("column", 229 / 72.27), ("page", 469 / 72.27), ("240", 240 / 72.27), (5, 5.0)]
)
def test_widths(width, held):
    assert style.inches(width) == held
    assert matrix(results(), width=width).get_figwidth() == held


@pytest.mark.parametrize("width", ["", "wide", "144", "3in", 0.1, 1000, float("nan")])
def test_a_width_that_no_paper_has_is_a_mistake(width):
    with pytest.raises(
        BenchError, match=r"is unknown: give column, page, points from 145 to 2890 .* inches from 2 to 40"
    ):
        style.inches(width)


def test_lines_are_as_wide_as_they_are_told_and_lose_no_letter():
    label = "pgd-20[steps=50,n_restarts=5]" * 2

    lines = style.wrapped(label, 0.7, 8, lines=20).split("\n")

    assert "".join(lines) == label
    assert all(style.text_width(line, 8) <= 0.7 for line in lines)


def test_what_does_not_fit_ends_in_an_ellipsis():
    assert style.wrapped("a" * 500, 0.5, 8, lines=2).split("\n")[1].startswith("…")
    assert style.wrapped("", 0.5) == "?"


def test_the_measured_width_is_that_of_the_drawn_text():
    with style.styled():
        figure = Figure(figsize=(4, 1), dpi=720)
        drawn = figure.text(0, 0.5, "atop[rt=none], 54.7", fontsize=8)
        wide = drawn.get_window_extent().width / 720

    assert style.text_width("atop[rt=none], 54.7", 8) == pytest.approx(wide, rel=0.02)


@pytest.mark.parametrize("count", range(1, 8))
def test_panels_are_as_many_as_asked_for_and_visible(count):
    with style.styled():
        figure, axes = style.panels(count, 6.75, least=2.0, height=1.0)

    assert len(axes) == count
    assert [each for each in figure.axes if each.get_visible()] == axes
