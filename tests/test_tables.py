"""The table: what stands where, and how each rendering shows it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from bench.cell import AttackRef, Cell, DefenseRef, Result, Slice
from bench.errors import BenchError
from bench.outcome import Done, Failed, Skipped, Verdicts
from bench.tables import make_table, render
from bench.types import ThreatModel

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


def test_columns_are_standard_attacks_and_worst_cases(results):
    """The attacks stand in the given order with their threats beneath, then the worst cases."""
    table = make_table(results)

    assert [" ".join(lines) for lines in table.header] == [
        "defense",
        "n",
        "standard",
        "pgd-20 Linf:8/255",
        "pgd-20 L2:0.5",
        "pgd-eot-20 Linf:8/255",
        "pgd-eot-20 L2:0.5",
        "worst seen",
        "worst unseen",
        "worst all",
    ]


def test_a_stochastic_defense_takes_two_rows(results):
    """mean-of-10 and beneath it worst-of-10, whose standard accuracy is judged by all ten draws too."""
    rows = make_table(results).rows

    assert [(row[0].text, row[0].detail) for row in rows] == [
        ("at", "(deterministic)"),
        ("atop[rt=2]", "(mean-of-10)"),
        ("atop[rt=2]", "(worst-of-10)"),
    ]
    assert [row[2].text for row in rows] == ["78.1", "90.0", "0.0"]


def test_every_outcome_has_its_own_look(results):
    """Value with interval and seen mark, FAIL, a numbered dash, and dots for what is missing."""
    at, mean, _ = make_table(results).rows

    assert (at[3].text, at[3].detail, at[3].seen) == ("54.7", "[46.1, 63.0]", True)
    assert (at[4].text, at[4].detail) == ("FAIL", "")
    assert (at[5].text, at[5].note, at[6].note) == ("-", 1, 1)
    assert (mean[4].text, mean[4].detail) == ("...", "")
    assert (mean[3].text, mean[3].seen) == ("30.0", False)
    assert (mean[7].text, mean[7].note) == ("-", 2)


def test_a_worst_case_with_gaps_is_marked_as_a_bound(results):
    """Failed and missing cells leave an upper bound; a complete worst case carries no mark."""
    at, mean, _ = make_table(results).rows

    assert [(cell.text, cell.bound) for cell in at[7:]] == [("54.7", False), ("FAIL", False), ("54.7", True)]
    assert [(cell.text, cell.bound) for cell in mean[8:]] == [("30.0", True), ("30.0", True)]


def test_notes_explain_every_mark_that_is_there(results):
    """Footnotes carry the distinct reasons, and a small n is called smoke."""
    notes = make_table(results).notes

    starts = ["Accuracies in %", "worst seen", "mean-of-N", "* seen", "<= an upper", "FAIL", "..."]
    starts += ["[1] one draw is no EOT", "[2] no threat here was seen in training", "n=128"]
    assert [note[: len(start)] for note, start in zip(notes, starts, strict=True)] == starts
    assert notes[-1] == "n=128 < 500: smoke numbers, not comparable with a leaderboard"


@pytest.mark.parametrize(("n", "smoke"), [(499, True), (500, False)])
def test_notes_explain_no_mark_that_is_not_there(n, smoke):
    """A plain table of 500 examples has two notes only."""
    table = make_table([_result("at", "pgd-20", LINF, _done(70, n=n), n=n)])

    seen_nothing = "[1] no threat here was seen in training"
    assert [seen_nothing in table.notes, len(table.notes)] == [True, 4 if smoke else 3]


def test_results_of_two_slices_do_not_share_a_table():
    """Rows over other images are not comparable; the message names what is there."""
    results = [_result("at", "pgd-20", LINF, None, n=n) for n in (128, 512)]

    with pytest.raises(BenchError, match="hold digits test n=128, digits test n=512: select one"):
        make_table(results)
    with pytest.raises(BenchError, match="hold none"):
        make_table([])


def test_rows_of_several_seeds_say_which():
    """Two seeds of one defense are two rows that can be told apart."""
    table = make_table([_result("at", "pgd-20", LINF, _done(70), seed=seed) for seed in (0, 1)])

    assert [row[0].detail for row in table.rows] == ["(deterministic, seed 0)", "(deterministic, seed 1)"]


def test_the_screen_puts_the_interval_beneath_the_value(results):
    """Two lines per row: value with its mark, interval below; the threat beneath the attack."""
    lines = render(make_table(results[:1]), "screen").split("\n")

    assert lines == [
        "digits test",
        "",
        "defense            n      standard        pgd-20         worst     worst         worst",
        "                                      Linf:8/255          seen    unseen           all",
        "---------------  ---  ------------  ------------  ------------  --------  ------------",
        "at               128          78.1         54.7*          54.7     - [1]          54.7",
        "(deterministic)       [70.2, 84.4]  [46.1, 63.0]  [46.1, 63.0]            [46.1, 63.0]",
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
    """Where nothing fits the table is still shown whole."""
    text = render(make_table(results), style, 10)

    assert text.count("defense  ") == len(make_table(results).header) - 1


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


def test_latex_is_a_booktabs_table_with_two_header_rows(results):
    """Attack over threat, one row per judge, value and interval inline, marks in math."""
    lines = render(make_table(results), "latex").split("\n")

    assert lines[0] == r"% digits test; needs \usepackage{booktabs}"
    assert lines[1:3] == [r"\begin{tabular}{lrrrrrrrrr}", r"\toprule"]
    assert lines[3].startswith(r"defense & n & standard & pgd-20 & pgd-20 &")
    assert lines[4].startswith(r" &  &  & Linf:8/255 & L2:0.5 &")
    assert lines[5] == r"\midrule"
    assert lines[6].startswith(
        r"at (deterministic) & 128 & 78.1 [70.2, 84.4] & 54.7$^{*}$ [46.1, 63.0] & FAIL & - [1] &"
    )
    assert lines[6].endswith(r"& $\leq$ 54.7 [46.1, 63.0] \\")
    assert lines[7].startswith(r"atop{[}rt=2{]} (mean-of-10) & 128")
    assert lines[9:11] == [r"\bottomrule", r"\end{tabular}"]
    assert r"$\leq$ an upper bound: cells of this worst case failed or are missing.\par" in lines
    assert all(line.count("&") == 9 for line in (*lines[3:5], *lines[6:9]))


@pytest.mark.parametrize(
    ("label", "escaped"),
    [
        ("a_b", r"a\_b"),
        ("50%", r"50\%"),
        ("#1", r"\#1"),
        ("a&b", r"a\&b"),
        ("$x$", r"\$x\$"),
        ("{x}", r"\{x\}"),
        ("[x]", "{[}x{]}"),
        ("\\input", r"\textbackslash{}input"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("a<b>", r"a\textless{}b\textgreater{}"),
    ],
)
def test_latex_escapes_every_special_character(label, escaped):
    """A label can neither break the table nor run a command."""
    text = render(make_table([_result(label, "pgd-20", LINF, Skipped(label))]), "latex")

    assert f"\n{escaped} (deterministic) & 128 &" in text
    assert f"{{[}}2{{]}} {escaped}\\par" in text


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


def test_a_column_whose_attack_has_no_power_here_is_marked(monkeypatch):
    """A number that no attack has earned must not look like robustness."""
    from bench import tables
    from bench.registry import AttackEntry

    weak = AttackEntry("dust", "m:a", "", "", ("Linf",), powerless={"digits": "the undefended model keeps 54 %"})
    monkeypatch.setattr(tables, "ATTACKS", [weak])

    table = make_table([_result("at", "dust", LINF, _done(70)), _result("at", "pgd-20", LINF, _done(60))])

    assert ("dust~", "Linf:8/255") in table.header
    assert ("pgd-20", "Linf:8/255") in table.header
    assert table.notes[-1] == "~ dust has no power here: the undefended model keeps 54 %"


def test_a_table_says_when_its_numbers_were_made_by_different_code():
    """The same versions, but somebody vouched for another state of the code in between."""
    made = [{"harness": "h1", "attack": "a1", "defense": "d1"}, {"harness": "h2", "attack": "a2", "defense": "d1"}]
    both = [
        replace(_result("at", attack, LINF, _done(70)), code=code)
        for attack, code in zip(("pgd-20", "fgsm"), made, strict=True)
    ]

    assert make_table(both).notes[-1] == "made by different code: harness h1 (1 cell), h2 (1 cell)"
    assert "different code" not in " ".join(make_table([replace(each, code=made[0]) for each in both]).notes)


def test_the_parts_of_an_attack_on_another_kind_of_defense_are_no_different_code():
    """AutoAttack is four attacks on a deterministic defense and two on a stochastic one."""
    one, two = _result("at", "autoattack", LINF, _done(70)), _result("atop", "autoattack", LINF, _done(70))
    two = replace(two, cell=replace(two.cell, attack=replace(two.cell.attack, source="apgd-ce + apgd-dlr")))
    one, two = (
        replace(each, code={"harness": "h", "attack": code, "defense": "d"})
        for each, code in ((one, "a+b"), (two, "a"))
    )

    assert "different code" not in " ".join(make_table([one, two]).notes)


def test_a_row_says_when_its_numbers_were_searched_for_in_different_formats():
    """Folders of two machines copied together: an example at the boundary is here broken and there not."""
    one, two = _result("at", "pgd-20", LINF, _done(70)), _result("at", "fgsm", LINF, _done(70))
    half = replace(two, cell=replace(two.cell, precision="bfloat16 channels-last / float32"))
    rows = replace(two, cell=replace(two.cell, precision="float32 / 160 rows"))

    said = "searched in different formats: at float32 (1 cell), bfloat16 channels-last / float32 (1 cell)"
    assert said in make_table([one, half]).notes
    assert "different formats" not in " ".join(make_table([one, rows]).notes)


def test_code_that_is_not_known_is_not_taken_for_the_same():
    one, two = _result("at", "pgd-20", LINF, _done(70)), _result("at", "fgsm", LINF, _done(70))

    notes = make_table([one, replace(two, code={"harness": "h1", "attack": "a1", "defense": "d1"})]).notes

    assert "made by different code: harness unknown (1 cell), h1 (1 cell)" in notes
    assert "made by different code: defense at unknown (1 cell), d1 (1 cell)" in notes
