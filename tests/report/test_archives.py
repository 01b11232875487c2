"""The lines that `bench import` prints."""

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.imported import ACCESS
from bench.report.archives import render
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.outcome import Done, Failed, Verdicts
from bench.threats import ThreatModel

LINF = ThreatModel.parse("Linf:0.2")


def result(attack, held, *, source="", access="gradient", findings=()):
    ref = AttackRef(attack, attack, attack, access=access, config={"source": source, "covers": 3})
    cell = Cell(DefenseRef("at", "at", "d"), ref, LINF, Slice("digits", "test", 4, "x"), 0, 1, 4)
    if not isinstance(held, list):
        return Result(cell, held, findings)
    counts = np.array(held, dtype=np.uint8)
    return Result(cell, Done(Verdicts(1, np.ones_like(counts), counts)), findings)


def archive(held, **more):
    return result("import:smith", held, access=ACCESS, **more)


def test_each_archive_and_the_best_known_have_a_line():
    text = render([result("pgd-20", [1, 1, 1, 0]), archive([0, 1, 1, 1], source="Smith 2026")])

    assert text.splitlines() == [
        "import:smith (Linf:0.2), by Smith 2026, 3 of 4 images: 75.0 % [30.1, 95.4]; broke 1 image that no attack here "
        "broke",
        "at, best known under Linf:0.2: 50.0 % [15.0, 85.0] (deterministic)",
    ]


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([archive([1, 1, 1, 1])], "no attack was run here under Linf:0.2"),
        ([result("pgd-20", [0] * 4), archive([1] * 4)], "broke no images that no attack here broke"),
        ([result("pgd-20", [1] * 4), archive(Failed("RuntimeError: no"))], "FAIL (RuntimeError: no)"),
        ([result("pgd-20", None), archive([1] * 4)], "best known under Linf:0.2: <= 100.0 %"),
    ],
)
def test_what_is_not_known_is_said(results, told):
    assert told in render(results)


def test_a_blocked_defense_has_no_number():
    text = render([archive([1] * 4, findings=(Finding("A13", "block", "-", "-", "A13: no"),))])

    assert "BLOCK: A13: no" in text
    assert "%" not in text
