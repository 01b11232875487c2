"""Text that fits the screen: nothing is cut, nothing is wider, and a pipe gets whole lines."""

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.report.columns import draw_listing, draw_table, fitting_name, paragraphs, prose, screen_width
from bench.report.costs import cost_table
from bench.report.leaderboard import render_ranking
from bench.report.render import render
from bench.report.tables import make_table
from bench.results.cell import Cell, Result, Slice
from bench.results.outcome import Done, Verdicts
from bench.threats import ThreatModel

LINF = ThreatModel.parse("Linf:8/255")
HEADER = ("name", "count", "what it is")
ROWS = [
    ("pgd-20", "21", "twenty projected gradient steps from a random start, one draw per gradient"),
    ("square", "5001", "random search over square patches"),
]


def words(text):
    return sorted(word for word in text.split() if word.strip("-"))


def widest(text):
    return max(map(len, text.split("\n")))


def result(label, n=128):
    counts = np.ones(n, np.uint8)
    part = Slice("digits", "test", n, f"images-{n}")
    cell = Cell(DefenseRef(label, label, label, False, ()), AttackRef("square", "s", "s"), LINF, part, 0, 1, 64)
    return Result(cell, Done(Verdicts(1, counts, counts)))


@pytest.mark.parametrize("columns", ["80", "120", "200"])
def test_the_width_is_the_one_that_columns_names(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert screen_width() == screen_width(99) == int(columns)


def test_without_a_terminal_there_is_no_width(monkeypatch):
    """As in a pipe; what wants a page all the same says how wide."""
    monkeypatch.setenv("COLUMNS", "0")
    monkeypatch.setattr("sys.__stdout__", None)
    assert screen_width() is None
    assert screen_width(120) == 120


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("draw", [draw_listing, lambda *args: draw_table(*args, text=(2,))], ids=["listing", "table"])
def test_every_word_is_there_and_no_line_is_too_wide(width, draw):
    told = draw(HEADER, ROWS, width)
    assert words(told) == words(" ".join([*HEADER, *sum(ROWS, ())]))
    assert widest(told) <= width


def test_a_summary_wraps_inside_its_column_and_goes_beneath_where_that_is_narrow():
    wide, narrow = (draw_listing(HEADER, ROWS, width).split("\n") for width in (60, 40))
    assert wide[1:3] == [
        "pgd-20  21     twenty projected gradient steps from a random",
        "               start, one draw per gradient",
    ]
    assert narrow[2:5] == [
        "pgd-20  21",
        "    twenty projected gradient steps from",
        "    a random start, one draw per",
    ]


def test_without_a_width_every_row_is_one_line():
    assert len(draw_listing(HEADER, ROWS, None).split("\n")) == 1 + len(ROWS)
    assert len(draw_table(HEADER, ROWS, None).split("\n")) == 2 + len(ROWS)


def test_columns_that_do_not_fit_are_folded_into_blocks_that_name_the_rows():
    told = draw_table(("", "a", "b"), [("one", "1" * 30, "2" * 30)], 40, right=(1, 2))
    assert told.split("\n") == [
        f"     {'a':>30}",
        f"---  {'-' * 30}",
        f"one  {'1' * 30}",
        "",
        f"     {'b':>30}",
        f"---  {'-' * 30}",
        f"one  {'2' * 30}",
    ]


def test_prose_keeps_its_lines_its_indentation_and_its_hyphens():
    told = prose("run next: --attacks pgd-20,pgd-eot-20,square\n    deeper by four and on and on", 30)
    assert told.split("\n") == [
        "run next: --attacks",
        "  pgd-20,pgd-eot-20,square",
        "    deeper by four and on and",
        "      on",
    ]


def test_a_docstring_is_joined_and_wrapped_anew_by_paragraph():
    text = "One sentence that is\nbroken early.\n\n    indented\n    as well"
    assert paragraphs(text, 40, "  ") == "  One sentence that is broken early.\n\n      indented as well"
    assert paragraphs(text, None, "  ") == "  One sentence that is\n  broken early.\n\n      indented\n      as well"


def test_a_name_takes_half_of_the_screen_at_most():
    path = "./a/rather/long/path/to/a/file/of/ones/own.py:build"
    assert "".join(fitting_name(path, 60).split("\n")) == path
    assert widest(fitting_name(path, 60)) <= 30
    table = make_table([result(path)])
    assert widest(render(table, "screen", 60)) <= 60
    assert path in render(table, "screen", None)


@pytest.mark.parametrize("make", [make_table, cost_table])
def test_n_is_said_once_in_the_title_where_all_rows_share_it(make):
    text = render(make([result("at"), result("ap")]), "screen", 120)
    title, _, header, *_ = text.split("\n")
    assert title.endswith(", n=128")
    assert header.split()[:2] == ["defense", "standard" if make is make_table else "square"]


def test_n_stays_a_column_where_rows_differ_in_it():
    table = make_table([result("at")])
    other = (table.rows[0][0], replace(table.rows[0][1], text="64"), *table.rows[0][2:])
    text = render(replace(table, rows=(table.rows[0], other)), "screen", 120)
    assert text.split("\n")[0] == "digits test"
    assert text.split("\n")[2].split()[:2] == ["defense", "n"]


@pytest.mark.parametrize("style", ["markdown", "latex"])
def test_what_is_pasted_elsewhere_keeps_n(style):
    table = make_table([result("at")])
    assert {"markdown": " 128 ", "latex": "$n=128$"}[style] in render(table, style)
    assert render(table, style) == render(table, style, 40)


def test_a_result_that_repeats_itself_is_no_reason_to_leave_it_out():
    """Everybody at 100 % under an attack is a finding."""
    text = render(make_table([result("at"), result("ap")]), "screen", 120)
    assert "square" in text
    assert text.count("100.0") >= 4


def test_the_leaderboard_wraps_what_it_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert widest(render_ranking([result("at"), result("ap")])) <= 60
