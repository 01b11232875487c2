"""Widths of what is made for a paper: names and TeX's points, and figures as wide as tables."""

import pytest

from bench.report import widths
from bench.report.figures import style
from bench.report.paper import latex


@pytest.mark.parametrize(("told", "held"), [("column", 229), ("page", 469), ("240", 240), (" 397.5 pt ", 397.5)])
def test_a_width_is_a_name_or_points(told, held):
    assert widths.points(told) == held


@pytest.mark.parametrize("told", ["", "wide", "-5", "1e3", "12345", "nan", "3in", "240pt\\input{x}"])
def test_everything_else_is_none(told):
    assert widths.points(told) is None


@pytest.mark.parametrize("told", ["column", "page", "345"])
def test_a_figure_is_as_wide_as_a_table(told):
    """An inch has 72.27 of TeX's points."""
    assert style.inches(told) * 72.27 == pytest.approx(latex.points(told), rel=1e-9)
