"""A table in four looks: folded to the screen, escaped for Markdown and LaTeX."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.report.render import render
from bench.report.tables import make_table
from bench.results.cell import Cell, Result, Slice
from bench.results.outcome import Done, Failed, Skipped, Verdicts
from bench.threats import ThreatModel

LINF, L2 = ThreatModel.parse("Linf:8/255"), ThreatModel.parse("L2:0.5")
SCREEN = ("screen", "grid")


def _result(defense, attack, threat, outcome, *, draws=1, n=128, seed=0, trained_on=()):
    ref = DefenseRef(defense, defense, defense, draws > 1, trained_on)
    cell = Cell(
        ref, AttackRef(attack, attack, attack), threat, Slice("digits", "test", n, f"images-{n}"), seed, draws, 64
    )
    return Result(cell, outcome)


def _done(robust, *, n=128, draws=1, right=None):
    """The first `right` of n examples are correct without attack, the first `robust` under attack."""
    counts = np.arange(n)
    clean = np.where(counts < (n if right is None else right), draws, 0).astype(np.uint8)
    return Done(Verdicts(draws, clean, np.where(counts < robust, draws, 0).astype(np.uint8)))


@pytest.fixture
def results():
    """One deterministic and one stochastic defense, two attacks, two threats, every kind of outcome."""
    tenth = Done(Verdicts(10, np.full(128, 9, np.uint8), np.full(128, 3, np.uint8)))
    return [
        _result("at", "pgd-20", LINF, _done(70, right=100), trained_on=(LINF,)),
        _result("at", "pgd-20", L2, Failed("Violation:\n 3 examples"), trained_on=(LINF,)),
        _result("at", "pgd-eot-20", LINF, Skipped("one draw is no EOT"), trained_on=(LINF,)),
        _result("at", "pgd-eot-20", L2, Skipped("one draw is no EOT"), trained_on=(LINF,)),
        _result("atop[rt=2]", "pgd-20", LINF, tenth, draws=10),
        _result("atop[rt=2]", "pgd-20", L2, None, draws=10),
        _result("atop[rt=2]", "pgd-eot-20", LINF, tenth, draws=10),
        _result("atop[rt=2]", "pgd-eot-20", L2, tenth, draws=10),
    ]


def test_the_screen_puts_the_interval_beneath_the_value(results):
    """Two lines per row: value with its mark, interval below; the threat beneath the attack."""
    lines = render(make_table(results[:1]), "screen").split("\n")

    assert lines == [
        "digits test, n=128",
        "",
        "defense              standard        pgd-20         worst     worst         worst",
        "                                 Linf:8/255          seen    unseen           all",
        "---------------  ------------  ------------  ------------  --------  ------------",
        "at                       78.1         54.7*          54.7     - [1]          54.7",
        "(deterministic)  [70.2, 84.4]  [46.1, 63.0]  [46.1, 63.0]            [46.1, 63.0]",
        "",
        *make_table(results[:1]).notes,
    ]


@pytest.mark.parametrize("style", SCREEN)
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(results, style, width):
    """The columns are folded into blocks, each with the defenses, and the notes are wrapped."""
    text = render(make_table(results), style, width)

    assert max(map(len, text.split("\n"))) <= width


@pytest.mark.parametrize("style", SCREEN)
def test_folding_loses_no_column(results, style):
    """Every header and every value stands exactly as often as unfolded; defenses once per block."""
    table = make_table(results)

    folded, whole = (render(table, style, width) for width in (60, None))

    blocks = folded.count("defense  ")
    assert blocks > 1
    assert folded.count("(worst-of-10)") == blocks * whole.count("(worst-of-10)")
    for word in ("standard  ", "pgd-eot-20", "unseen  ", "[46.1, 63.0]", "FAIL  ", "54.7*"):
        assert folded.count(word.strip()) == whole.count(word.strip()) > 0


@pytest.mark.parametrize("style", SCREEN)
def test_a_terminal_too_narrow_for_anything_gets_one_column_per_block(results, style):
    """Where nothing fits the table is still shown whole; n, which repeats itself, stands in the title."""
    text = render(make_table(results), style, 10)

    assert text.count("defense  ") == len(make_table(results).header) - 2


def test_plain_is_another_word_for_the_screen(results):
    """Both names give the same text."""
    assert render(make_table(results), "plain", 80) == render(make_table(results), "screen", 80)


def test_markdown_is_one_table_with_inline_intervals(results):
    """Each row has as many cells as the header; the value stands before its interval."""
    lines = render(make_table(results), "markdown").split("\n")

    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines[2:]))
    assert {line.count("|") for line in table} == {11}
    assert table[0].startswith("| defense | n | standard | pgd-20<br>Linf:8/255 |")
    assert table[1] == "| :--- |" + " ---: |" * 9
    assert r"| 54.7\* [46.1, 63.0] | FAIL | - [1] | - [1] |" in table[2]
    assert table[2].endswith("| FAIL | &lt;= 54.7 [46.1, 63.0] |")


def test_markdown_escapes_what_would_break_the_table():
    """Pipes, tags, links, emphasis and line breaks in a label stay text."""
    hostile = "a|b<img src=x>[t](http://x)_c_\n`d`"

    text = render(make_table([_result(hostile, "pgd|20", LINF, Skipped("x|y"))]), "markdown")

    row = next(line for line in text.split("\n") if line.startswith("| a"))
    assert row.startswith(r"| a\|b&lt;img src=x>[t]\(http://x)\_c\_ \`d\` (deterministic) |")
    assert r"pgd\|20<br>" in text
    assert r"- [2] x\|y" in text


def test_what_is_best_is_bold_in_markdown_and_html():
    """The mark is within the bold letters, the interval is not."""
    table = make_table([_result("a", "pgd-20", LINF, _done(100)), _result("b", "pgd-20", LINF, _done(10))], best=True)

    assert "| **78.1** [70.2, 84.4] |" in render(table, "markdown")
    assert "<td><b>78.1</b><br>[70.2, 84.4]</td>" in render(table, "html")


@pytest.mark.parametrize("style", ["screen", "grid", "markdown", "latex"])
def test_control_characters_never_reach_the_terminal(style):
    """An escape sequence in a label or reason loses its escape; line breaks become blanks."""
    text = render(make_table([_result("at\x1b[31m\r\nx", "p\x07gd", LINF, Skipped("a\tb\x00"))]), style)

    assert all(char.isprintable() or char == "\n" for char in text)
    assert "a b" in text


@pytest.mark.parametrize("style", ["screen", "grid", "markdown", "latex"])
def test_rendering_is_a_pure_function(results, style):
    """The same results give the same text, without blanks at line ends or a line break at the end."""
    first, second = (render(make_table(results), style, 80) for _ in range(2))

    assert first == second
    assert not first.endswith("\n")
    assert not any(line.endswith(" ") for line in first.split("\n"))


def test_an_unknown_style_is_named(results):
    """The message says what there is instead."""
    with pytest.raises(BenchError, match="unknown table style 'markdwon': did you mean markdown"):
        render(make_table(results), "markdwon")
