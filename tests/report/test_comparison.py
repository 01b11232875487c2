"""How a comparison is shown, on the screen, in Markdown and as data."""

import json

import pytest

from bench.report.comparison import compare, resolution
from bench.report.leaderboard import render_ranking
from bench.report.tables import make_table
from bench.results.outcome import Failed
from bench.results.stats import paired_difference
from tests.report.simulated import HOSTILE, L2, done, result


@pytest.fixture
def comparison():
    results = [
        result("at", outcome=done(60)),
        result("ap", outcome=done(20)),
        result("at", "fgsm", L2, Failed("broke")),
        result("ap", "fgsm", L2, done(58)),
    ]
    return compare(results, "at", results, "ap")


def test_the_screen_shows_every_row_with_its_verdict_and_its_notes(comparison):
    lines = comparison.table(width=120).split("\n")

    assert lines[0] == "A: at, B: ap; n=64"
    (row,) = (line.split() for line in lines if line.startswith("pgd-20"))
    assert row == ["pgd-20", "93.8", "31.2", "+62.5", "1.8e-12", "7.3e-12", "40", "0", "A"]
    (worst,) = (line.split() for line in lines if line.startswith("worst-all"))
    assert worst[1:4] == ["<=", "93.8", "31.2"]
    assert worst[-2:] == ["no", "verdict"]
    assert any(line.startswith("standard") and "not separated" in line for line in lines)
    assert any(line.startswith("<= an upper bound") for line in lines)
    assert "fgsm (L2:0.5) is left out: failed for A" in lines


def test_markdown_and_json_say_the_same(comparison):
    table = comparison.table("markdown")
    told = json.loads(json.dumps(comparison.to_json()))

    low, high = paired_difference([1.0] * 40 + [0.0] * 24)
    assert f"| pgd-20 (Linf:8/255) | 93.8 | 31.2 | +62.5 [+{100 * low:.1f}, +{100 * high:.1f}] |" in table
    row = next(row for row in told["rows"] if row["name"] == "pgd-20")
    assert (row["difference"], row["better"], row["only_a"]) == (0.625, "A", 40)
    assert row["low"] < row["difference"] < row["high"]


def test_latex_keeps_the_order_of_the_columns_and_of_the_lines_above_them(comparison):
    """The second line of a header is no threat model here: `adjusted p` reads from above, and `better` stands last."""
    text = comparison.table("latex")

    lines = text.split("\n")
    top = lines.index(r"\toprule")
    assert lines[top + 1 : top + 4] == [
        r" &  &  &  &  & adjusted & only & only & \\",
        r" & A & B & A - B & p & p & A & B & better \\",
        r"\midrule",
    ]
    (row,) = (line for line in lines if line.startswith("pgd-20 &"))
    assert row == (r"pgd-20 & 93.8 & 31.2 & $+62.5$ & $1.8\cdot10^{-12}$ & $7.3\cdot10^{-12}$ & 40 & 0 & A \\")
    assert r"\caption{Accuracies of A and B in percent, and their difference in points. ...}" in text
    assert r"\label{tab:comparison}" in text


@pytest.mark.parametrize("style", ["screen", "latex"])
def test_stochastic_defenses_have_no_empty_columns(style):
    """Only verdicts are right for one defense and wrong for the other; counts of draws have no such images."""
    results = [result("at", outcome=done(60, draws=10), draws=10), result("ap", outcome=done(20, draws=10), draws=10)]

    text = compare(results, "at", results, "ap").table(style)

    assert "only" not in text.replace("sampling of images only", "")
    if style == "latex":
        (row,) = (line for line in text.split("\n") if line.startswith("pgd-20 &"))
        assert row.count("&") == 6
        assert row.endswith(r"& A \\")


@pytest.mark.parametrize("style", ["screen", "markdown", "latex", "html"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_does_harm(name, style):
    results = [result(name, outcome=done(60)), result("ap", outcome=done(20))]

    text = compare(results, name, results, "ap").table(style)

    assert all(char.isprintable() or char == "\n" for char in text)
    assert "<img" not in text or style in ("screen", "latex")


@pytest.mark.parametrize(
    ("n", "told"),
    [(5, "too few images"), (128, "resolves differences of 6.1 points at best"), (10_000, "of 0.1 points at best")],
)
def test_tables_and_leaderboards_say_what_their_images_resolve(n, told):
    """Without a flip the other way: six of 128 images have p = 2^-5, two-sided, and come up in 80 % of samples."""
    results = [result(name, outcome=done(2, n=n), n=n) for name in ("at", "ap")]

    assert told in resolution(n)
    assert resolution(n) in make_table(results).notes
    assert told in " ".join(render_ranking(results).split())
