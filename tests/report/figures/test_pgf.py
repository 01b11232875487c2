"""PGF: written without LaTeX, compiled by it, and no label is ever its code."""

import re
import shutil
import subprocess

import pytest

from bench.api.results import Results
from bench.report.figures import pgf
from bench.report.figures.cost import cost
from bench.report.figures.files import save
from bench.report.figures.forest import forest
from bench.report.figures.matrix import matrix
from bench.results.store import Store
from tests.report.figures.drawn import HOSTILE, hostile, results

LATEX = shutil.which("pdflatex")
TEXT = shutil.which("pdftotext")


def unescaped(text):
    """What LaTeX prints of escaped ASCII text: an independent reading."""
    named = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">"}
    named |= {"textbar": "|", "textasciigrave": "`"}
    found = re.sub(r"\\(text\w+)\{\}", lambda each: f"\0{ord(named[each[1]])};", text)
    found = re.sub(r"\\([%_#&${}])", lambda each: f"\0{ord(each[1])};", found)
    assert not re.search(r"[\\%_#&${}~^]", found), found
    return re.sub(r"\0(\d+);", lambda each: chr(int(each[1])), found).replace("''", '"')


@pytest.mark.parametrize("text", [*HOSTILE, "".join(map(chr, range(32, 127)))])
def test_every_character_of_ascii_is_printed_and_none_means_anything(text):
    assert unescaped(pgf.escaped(text)) == text


def test_it_is_written_where_no_latex_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    save(Results(tuple(results()), Store(tmp_path)).plot_matrix(), tmp_path / "a.pgf")

    assert r"\begin{pgfpicture}" in (tmp_path / "a.pgf").read_text()


def test_no_label_is_left_unescaped(tmp_path):
    text = save(matrix(hostile(), width=12), tmp_path / "a.pgf").read_text()

    assert r"\input{/etc" not in text
    assert r"\frac" not in text
    assert r"\textbackslash{}input\{/etc" in text.replace("\n", "")


@pytest.mark.slow
@pytest.mark.skipif(LATEX is None or TEXT is None, reason="no pdflatex and pdftotext here")
def test_it_compiles_and_prints_numbers_and_labels(tmp_path):
    draw = {"matrix": matrix(results(), width=10), "forest": forest(results()), "cost": cost(results())}
    draw["hostile"] = matrix([*hostile()], width=12)
    for name, figure in draw.items():
        save(figure, tmp_path / f"{name}.pgf")
    body = "".join(rf"\noindent\input{{{name}.pgf}}\clearpage" for name in draw)
    size = r"\usepackage[paperwidth=14in,paperheight=20in,margin=.5in]{geometry}\usepackage{pgf}"
    page = rf"\documentclass{{article}}{size}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)

    made = subprocess.run(
        [LATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        errors="replace",
    )
    assert made.returncode == 0, made.stdout[-2000:]
    assert "/etc/passwd" not in made.stdout
    said = subprocess.run([TEXT, "page.pdf", "-"], cwd=tmp_path, capture_output=True, check=True, text=True).stdout
    assert "75.0" in said
    assert "root:" not in said


@pytest.mark.slow
@pytest.mark.skipif(LATEX is None, reason="no pdflatex here")
def test_both_widths_fit_into_an_article_in_two_columns(tmp_path):
    """As PGF and as PDF, without scaling; a figure of the old width, 3.25 inches, is overfull, so the log tells."""
    parts = {}
    for width, around in (("column", "figure"), ("page", "figure*"), (3.25, "figure")):
        for name, figure in (("matrix", matrix(results(), width=width)), ("cost", cost(results(), width=width))):
            for suffix, command in ((".pgf", "input"), (".pdf", "includegraphics")):
                file = save(figure, tmp_path / f"{name}-{around[-1:] == '*'}-{width == 3.25}{suffix}").name
                body = rf"\{command}{{{file}}}"
                parts.setdefault(width, []).append(rf"\begin{{{around}}}{body}\end{{{around}}}\clearpage")
    for fits, figures in ((True, parts["column"] + parts["page"]), (False, parts[3.25])):
        preamble = r"\documentclass[twocolumn]{article}\usepackage{graphicx}\usepackage{pgf}\begin{document}"
        (tmp_path / "page.tex").write_text("\n".join([preamble, *figures, r"\end{document}"]))
        subprocess.run(
            [LATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"],
            cwd=tmp_path,
            capture_output=True,
            check=True,
            timeout=120,
        )
        log = (tmp_path / "page.log").read_text(encoding="latin-1")
        # A page's height, too: "Float too large for page".
        found = [line for line in log.split("\n") if "Overfull \\hbox" in line or "Float too large" in line]
        assert len(found) == (0 if fits else len(figures)), found
