"""Results made by hand for figures, and what a figure says when its artists are asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.text import Text

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.imported import ACCESS
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Evidence, Failed, Skipped, Verdicts
from bench.threats import ThreatModel

LINF, L2 = "Linf:8/255", "L2:0.5"
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\\input{/etc/passwd}",
    "$\\frac{1}{2}$",
    "=cmd|x",
    "two\nlines\x1b[31m",
    "100% #1 & a_b^c~d{e}",
)
BLOCK = Finding("S05", "block", "1", "0", "S05: it answers from the label")
FLAG = Finding("A11", "flag", "1", "0", "A11: no gain over the base")


def done(held, clean=None, draws=1, forwards=84, backwards=42, distances=()):
    held = np.array(held, dtype=np.uint8)
    clean = np.full_like(held, draws) if clean is None else np.array(clean, dtype=np.uint8)
    return Done(Verdicts(draws, clean, held), Cost(forwards, backwards), Evidence(distances=tuple(distances)))


def result(defense, attack, threat, outcome, *, draws=1, n=4, seed=0, trained=(LINF,), findings=()):
    ref = DefenseRef(defense, defense, f"digest of {defense}", draws > 1, tuple(map(ThreatModel.parse, trained)))
    part = Slice("digits", "test", n, f"images-{n}")
    cell = Cell(ref, AttackRef(attack, attack, attack), ThreatModel.parse(threat), part, seed, draws, 64)
    return Result(cell, outcome, tuple(findings))


def results():
    """A matrix in which every kind of outcome occurs."""
    ten = [10, 7, 5, 0]
    return [
        result("at", "pgd-20", LINF, done([1, 1, 1, 0]), findings=[FLAG]),
        result("at", "autoattack", LINF, done([1, 1, 0, 0], forwards=4000, backwards=2000), findings=[FLAG]),
        result("at", "pgd-20", L2, Failed("RuntimeError: out of memory")),
        result("at", "stadv", "stadv:0.4", done([0, 1, 1, 0])),
        result("ap", "pgd-20", LINF, done(ten, draws=10, forwards=840, backwards=420), draws=10, trained=()),
        result("ap", "autoattack", LINF, Skipped("no such attack"), draws=10, trained=()),
        result("ap", "pgd-20", L2, done([3, 2, 1, 9], draws=10), draws=10, trained=()),
        result("ap", "stadv", "stadv:0.4", None, draws=10, trained=()),
        result("cheat", "pgd-20", LINF, done([1, 1, 1, 1]), findings=[BLOCK]),
        result("cheat", "stadv", "stadv:0.4", done([1, 1, 1, 1])),
    ]


def archive(defense, held, *, draws=1, findings=()):
    """Adversarial examples that others made against one defense."""
    made = result(defense, "import:smith", LINF, done(held, draws=draws), draws=draws, findings=findings)
    attack = replace(made.cell.attack, access=ACCESS, config={"source": "Smith 2026", "covers": len(held)})
    return replace(made, cell=replace(made.cell, attack=attack))


def hostile():
    return [
        result(f"{label} {index}", f"{label} {kind}", LINF, done([1, 1, 0, index % 2]))
        for index, label in enumerate(HOSTILE)
        for kind in "ab"
    ]


def texts(figure):
    """Every text that is to be seen, as it is written."""
    return [each.get_text() for each in figure.findobj(Text) if each.get_text() and each.get_visible()]


def numbers(figure):
    """The texts that are a number of the matrix: with a decimal, perhaps marked."""
    return [
        each for each in texts(figure) if each.lstrip("<=").rstrip("*!").replace(".", "", 1).isdigit() and "." in each
    ]
