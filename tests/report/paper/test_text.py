"""Text for LaTeX: harmless, and never wider than measured."""

import re
import shutil
import subprocess

import pytest

from bench.report.paper.text import escaped, measured, number, plain, threat, wrapped
from tests.report.simulated import HOSTILE


@pytest.mark.parametrize(
    ("text", "latex"),
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
        ("a<b>|", r"a\textless{}b\textgreater{}\textbar{}"),
        ("a--b", "a-{}-{}b"),
        ("apgd-ce", "apgd-ce"),
        ("é", "é"),
        ("名", "{[}U+540D{]}"),
        ("\x1b[0m\n\x00x", "{[}0m x"),
    ],
)
def test_every_character_prints_itself(text, latex):
    """A label can neither break the table nor run a command."""
    assert escaped(text) == latex


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_broken_into_lines_that_fit_and_lose_nothing(name):
    """Every visible character stands on exactly one of the lines."""
    lines = wrapped(name, 60)

    assert max(map(measured, lines)) <= 60
    assert "".join(lines).replace(" ", "") == "".join(wrapped(name, 10_000)).replace(" ", "")


def test_names_are_broken_after_a_sign():
    """As long as the line does not become very short by that."""
    assert wrapped("pgd-eot-20", 40) == ["pgd-eot-", "20"]
    assert wrapped("a-bcdefghijklmnop", 40) == ["a-bcdef", "ghijklm", "nop"]
    assert wrapped("", 40) == [""]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("Linf:8/255", r"$\ell_\infty$, $8/255$"),
        ("L2:0.5", r"$\ell_2$, $0.5$"),
        ("L1:12", r"$\ell_1$, $12$"),
        ("stadv:0.8", "stadv $0.8$"),
        ("jpeg-linf:1/8", "jpeg-linf $0.125$"),
        (r"\evil:1", r"\textbackslash{}evil:1"),
    ],
)
def test_threat_models_are_mathematics(text, latex):
    assert threat(text).latex == latex


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_no_text_is_wider_in_latex_than_it_is_measured(tmp_path):
    """pdflatex is asked for the width of every printable character, of words, numbers and threat models."""
    pieces = [plain(chr(code)) for code in range(33, 127)]
    pieces += [plain(text) for text in (*HOSTILE, "autoattack", "pgd-eot-20", "mean-of-10", "atop[rt=none]")]
    pieces += [number("[100.0, 100.0]"), number("54.7"), number("FAIL")]
    pieces += [threat(text) for text in ("Linf:8/255", "L2:0.5", "L1:12", "stadv:0.8", "Linf:16/255")]
    lines = [rf"\setbox0\hbox{{{piece.latex}}}\typeout{{width=\the\wd0}}" for piece in pieces]
    source = "\n".join([r"\documentclass{article}\begin{document}", *lines, r"x\end{document}"])
    (tmp_path / "w.tex").write_text(source, encoding="utf-8")

    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "w.tex"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=120).stdout.decode("latin-1")

    widths = [float(found) for found in re.findall(r"width=([\d.]+)pt", told)]
    assert len(widths) == len(pieces)
    assert [piece.latex for piece, width in zip(pieces, widths, strict=True) if width > piece.width + 0.01] == []


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("54.7", "54.7"),
        ("-5.9", "$-5.9$"),
        ("+62.5", "$+62.5$"),
        ("7.4e-08", r"$7.4\cdot10^{-8}$"),
        ("[-0.5, +3.9]", "[$-0.5$, $+3.9$]"),
        ("[46.1, 63.0]", "[46.1, 63.0]"),
        ("-5.9 and more", "-5.9 and more"),
        ("1e-8$x", r"1e-8\$x"),
        ("FAIL", "FAIL"),
    ],
)
def test_signs_and_powers_are_mathematics_and_nothing_else_is(text, latex):
    assert number(text).latex == latex
