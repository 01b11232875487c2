"""The LaTeX of a paper: it compiles, fits, and no name is a command."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalogue.refs import AttackRef
from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.report.comparison import compare
from bench.report.costs import cost_table
from bench.report.paper.latex import draw, points
from bench.report.tables import make_table
from bench.results.finding import Finding
from bench.results.outcome import Failed, Skipped
from bench.results.store import Store
from tests.report.simulated import HOSTILE, L2, LINF, done, matrix, result

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("cifar10", "cifar10-claims")
WIDTHS = {
    "column": r"\documentclass[twocolumn]{article}",
    "page": r"\documentclass[twocolumn]{article}",
    "345": r"\documentclass{article}",
}
WAYS = ({}, {"rotate": True}, {"split": True})


def stored(name):
    return make_table(Store(ROOT / "results" / name).results(), best=True)


def every_outcome():
    return [
        result("at", outcome=done(30), trained_on=(LINF,)),
        result("at", "fgsm", L2, Failed("broke")),
        result("ap", outcome=Skipped("why not")),
        result("ap", "fgsm", L2, None),
        result("base", outcome=done(20)),
        result("base", "fgsm", L2, done(20)),
    ]


def with_archive(name="import:smith", *, findings=()):
    """Two defenses under two threat models; an archive of others breaks more of the first than the attack here."""
    held = result("at", name, outcome=done(20), findings=findings)
    config = {"source": "Smith 2026", "covers": 64}
    ref = AttackRef(name, "bench.datasets.imported:Imported", name, access=ACCESS, config=config)
    archive = replace(held, cell=replace(held.cell, attack=ref))
    return [
        result("at", outcome=done(30), findings=findings),
        result("at", "fgsm", L2, done(40), findings=findings),
        result("ap", outcome=done(10)),
        result("ap", "fgsm", L2, done(15)),
        archive,
    ]


def test_it_is_a_booktabs_table_with_groups_above_threats_above_attacks():
    lines = draw(make_table(every_outcome()), "page").split("\n")

    body = [line for line in lines if not line.startswith("%")]
    assert body[2:4] == [r"\begin{tabular}{@{}lrrrrrr@{}}", r"\toprule"]
    assert body[4] == r" &  & \multicolumn{1}{c}{seen} & \multicolumn{1}{c}{unseen} & \multicolumn{3}{c}{worst case} \\"
    assert body[6].startswith(r" &  & \multicolumn{1}{c}{$\ell_\infty$, $8/255$} & \multicolumn{1}{c}{$\ell_2$, $0.5$}")
    assert body[7] == r"defense & standard & pgd-20 & fgsm & seen & unseen & all \\"
    assert body[9] == r"at & 100.0 & 46.9$^{*}$ & FAIL & 46.9 & FAIL & $\leq$46.9 \\"
    assert body[10].startswith(r" & {\scriptsize [94.3, 100.0]} & {\scriptsize [35.2, 58.9]} &")
    (note,) = (line for line in body if "parbox" in line)
    for told in (
        "$n=64$",
        "$\\leq$~an upper bound",
        "--~not applicable",
        r"\ldots~not computed yet",
        "FAIL~the attack",
    ):
        assert told in note


def test_every_note_of_the_table_stands_in_the_comments():
    """A paper has room for the short ones only, but nothing that was said is lost."""
    table = make_table([*every_outcome(), result("x\n\\input{y}", outcome=Skipped("a\nb"))])

    text = draw(table, "page")

    assert [line[2:] for line in text.split("\n") if line.startswith("% ")][-len(table.notes) :] == list(table.notes)


def test_a_blocked_or_failed_cell_is_never_a_number():
    """The marks stand in their places, and no bold one is among them."""
    text = draw(make_table(every_outcome(), best=True), "page")

    assert text.count("FAIL") >= 2
    assert r"\textbf{FAIL}" not in text
    assert r"\textbf{$\leq$" not in text
    assert not re.search(r"\$\\leq\$\\textbf", text)


def test_a_blocked_defense_has_no_number_in_a_paper():
    """Not even where it was computed in spite of the check, and whatever else is bold."""
    block = Finding("S14", "block", "0.5", "0.01", "S14: out of range")
    results = [result("at", outcome=done(30)), result("ap", outcome=done(64), findings=(block,))]

    text = draw(make_table(results, best=True, strict=True), "page")

    (row,) = (line for line in text.split("\n") if line.startswith("ap &"))
    assert row == "ap & BLOCK & BLOCK & BLOCK & BLOCK & BLOCK \\\\"
    assert "BLOCK~a check forbids a number" in text


def test_archives_of_others_stand_last_under_their_threat_model_and_are_explained():
    """Their number is lower than that of every attack here, so a table without them would flatter the defense."""
    text = draw(make_table(with_archive()), "page")

    body = [line for line in text.split("\n") if not line.startswith("%")]
    assert body[4].endswith(r"\multicolumn{3}{c}{worst case} & \multicolumn{2}{c}{archives} \\")
    assert body[6].endswith(r"& \multicolumn{2}{c}{$\ell_\infty$, $8/255$} \\")
    (names,) = (line for line in body if line.startswith("defense &"))
    assert names == r"defense & standard & pgd-20 & fgsm & seen & unseen & all & import:smith & best known \\"
    (row,) = (line for line in body if line.startswith("at &"))
    assert row.endswith(r"& 31.2 & 31.2 \\")
    (other,) = (line for line in body if line.startswith("ap &"))
    assert other.endswith(r"& -- & -- \\")
    (note,) = (line for line in body if "parbox" in line)
    assert "per image the worst over them and the attacks here under that threat model (best known)" in note
    assert "% ! at: import:smith (Linf:8/255) broke 10 images that no attack here broke" in text
    assert "Archives:" not in draw(make_table(every_outcome()), "page")


def test_archives_of_others_turned_narrow_chosen_and_bold():
    results = with_archive(findings=(Finding("A01", "flag", "0.1", "0.2", "A01: hm"),))

    turned = draw(make_table(results), "column", rotate=True)
    assert r"\multicolumn{3}{@{}l@{}}{\emph{archives}: $\ell_\infty$, $8/255$} \\" in turned
    assert "\nimport:smith & 31.2! & -- \\\\\n" in turned
    assert "\nbest known & 31.2! & -- \\\\\n" in turned
    narrow = draw(make_table(results, best=True), "column")
    assert r"31.2! & 31.2! \\" in narrow
    assert "!~flagged by a check" in narrow
    few = draw(make_table(results, "best-known,standard"), "column")
    assert "defense & standard & best known \\\\\n" in few


def test_a_blocked_defense_has_no_number_from_an_archive():
    block = Finding("S14", "block", "0.5", "0.01", "S14: out of range")

    text = draw(make_table(with_archive(findings=(block,)), strict=True), "page")

    (row,) = (line for line in text.split("\n") if line.startswith("at &"))
    assert not re.search(r"\d", row)


def test_what_is_bold_is_the_best_of_its_column_and_once_turned_of_its_row():
    table = make_table([result("at", outcome=done(60)), result("ap", outcome=done(10))], best=True)

    assert "Bold: best of its column and" in draw(table, "page")
    assert "Bold: best of its row and" in draw(table, "page", rotate=True)


def test_the_comments_put_the_caption_where_the_documentation_does():
    """Beneath the table."""
    told = [line.lstrip("% ") for line in draw(make_table(every_outcome()), "column").split("\n")[1:5]]
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")

    commands = [re.match(r"\\\w+", line)[0] for line in told]
    assert commands == [r"\begin", r"\input", r"\caption", r"\end"]
    example = page[page.index("\\begin{table}") : page.index("\\end{table}")]
    assert example.index("\\input") < example.index("\\caption")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_a_command(name):
    """Outside comments every backslash begins a command of ours."""
    ours = {"begingroup", "endgroup", "setlength", "tabcolsep", "parindent", "begin", "end", "toprule", "midrule"}
    ours |= {"bottomrule", "addlinespace", "cmidrule", "multicolumn", "ell", "infty", "leq", "small", "footnotesize"}
    ours |= {"scriptsize", "smallskip", "medskip", "par", "parbox", "linewidth", "raggedright", "emph"}
    ours |= {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"}
    results = [result(name, name, outcome=done(3)), result("at", name, outcome=Failed(name))]

    text = draw(make_table(results), "column")

    source = "\n".join(line for line in text.split("\n") if not line.startswith("%"))
    assert set(re.findall(r"\\([A-Za-z]+)", source.replace(r"\\", ""))) <= ours
    assert source.isprintable() or set(source) - {"\n"} == {char for char in source if char.isprintable()}
    braces = re.sub(r"\\[{}]", "", source.replace(r"\\", ""))
    assert braces.count("{") == braces.count("}")


def test_narrower_letters_before_several_tabulars_and_the_other_way_round_on_request():
    table = make_table(matrix(["at", "trades"], ["pgd-20", "apgd-ce", "fgsm"], (LINF,)))

    assert draw(table, "340").count(r"\toprule") == 1
    assert r"\begingroup\footnotesize" in draw(table, "340")
    assert draw(table, "340", split=True).count(r"\toprule") == 2
    assert r"\begingroup\small" in draw(table, "340", split=True)


@pytest.mark.parametrize(("fit", "width"), [("column", 229), ("page", 469), ("397", 397), ("397.5pt", 397.5)])
def test_widths_have_names_or_points(fit, width):
    assert points(fit) == width


@pytest.mark.parametrize(
    ("fit", "message"),
    [("wide", "'wide' is no width"), ("-5", "is no width"), ("20", "too narrow"), ("1e9", "is no width")],
)
def test_a_width_that_is_none_is_an_error(fit, message):
    with pytest.raises(BenchError, match=message):
        points(fit)


def test_other_tables_keep_their_threats_and_say_their_short_notes():
    """A table of costs has two columns of one attack, and a comparison says what A and B are."""
    cost = draw(cost_table(matrix(["at"], ["pgd-20"], (LINF, L2))), "page")
    both = matrix(["at", "ap"], ["pgd-20"], (LINF,))
    told = compare(both, "at", both, "ap").table("latex")

    assert r"$\ell_\infty$, $8/255$" in cost
    assert r"$\ell_2$, $0.5$" in cost
    assert "a backward is about two forwards." in cost.split("parbox")[1].split("\n")[0]
    assert "A: at, B: ap; n=64." in told.split("parbox")[1].split("\n")[0]


@pytest.mark.parametrize(("defenses", "told"), [(5, False), (60, True)])
def test_a_table_that_is_too_high_for_a_page_says_so(defenses, told):
    text = draw(make_table(matrix([f"d{at}" for at in range(defenses)], ["pgd-20"], (LINF,))), "page")

    assert ("% Too high" in text) is told


def tables():
    big = matrix([f"defense-{i}" for i in range(24)], [f"attack-{i}" for i in range(40)], (LINF,))
    hostile = matrix(HOSTILE, HOSTILE[:4], (LINF, L2))
    three = matrix(["standard", "at", "atop"], ["fgsm", "pgd-20", "autoattack"])
    made = {"three": make_table(three, best=True), "hostile": make_table(hostile, best=True), "24x40": make_table(big)}
    made["compared"] = compare(hostile, HOSTILE[2], hostile, HOSTILE[4])._table()
    made["archives"] = make_table(with_archive(f"import:{HOSTILE[3]}"), best=True)
    return {**made, "outcomes": make_table(every_outcome()), "cost": cost_table(hostile)} | {
        name: stored(name) for name in FOLDERS
    }


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("fit", WIDTHS)
def test_it_compiles_without_an_error_and_without_an_overfull_box(fit, tmp_path):
    """In a two-column article, over one column and over the page, and in a plain one; upright, rotated and split."""
    around = "{table*}" if fit == "page" else "{table}"
    parts = []
    for name, table in tables().items():
        for way in WAYS:
            file = f"{name}{len(parts)}.tex"
            (tmp_path / file).write_text(draw(table, fit, **way), encoding="utf-8")
            parts.append(rf"\begin{around}\centering\input{{{file}}}\caption{{x}}\end{around}\clearpage")
    preamble = rf"{WIDTHS[fit]}\usepackage{{booktabs}}\begin{{document}}"
    (tmp_path / "paper.tex").write_text("\n".join([preamble, *parts, r"\end{document}"]), encoding="utf-8")

    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "paper.tex"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=240)

    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    assert "Output written on paper.pdf" in log
    assert [line for line in log.split("\n") if line.startswith("!") or "Overfull \\hbox" in line] == []
    assert "root:" not in log
