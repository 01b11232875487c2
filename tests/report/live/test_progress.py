"""How far a run is, in lines and in bars that never go past what was promised."""

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.report.live.progress import Progress
from bench.results.cell import Cell, Slice
from bench.results.outcome import Done, Failed, Verdicts
from bench.threats import ThreatModel
from tests.report.live.clock import Clock


def cell(attack, backwards=10):
    part = Slice("digits", "test", 4, "images")
    ref = AttackRef(attack, attack, attack, forwards=10, backwards=backwards)
    return Cell(DefenseRef("at", "at", "at", False, ()), ref, ThreatModel.parse("Linf:0.2"), part, 0, 1, 4)


def done(right=4):
    counts = np.array([1] * right + [0] * (4 - right), np.uint8)
    return Done(Verdicts(1, np.ones(4, np.uint8), counts))


def whole(progress):
    return progress._bars.tasks[0]


def test_a_silent_run_says_what_is_at_work_how_far_and_for_how_long(capsys):
    clock = Clock()
    one, two = cell("pgd-20"), cell("square")
    progress = Progress(60.0, clock)
    progress.begin([one, two], 0)
    progress.advance(one, 4)
    done = Done(Verdicts(1, np.ones(4, np.uint8), np.ones(4, np.uint8)))
    progress.end(one, done)
    progress.advance(two, 8)
    assert capsys.readouterr().err == "[1/2] at x pgd-20 (Linf:0.2): 100.0% robust (0 s)\n"

    for clock.now in range(180):
        progress.heart.beat()

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("still running after 60 s: 1 of 2 cells done, ")
    assert lines[1].startswith("still running after 2 min: 1 of 2 cells done, ")
    assert all("at work: at x square (Linf:0.2) " in line for line in lines)


def test_a_run_that_waits_for_another_says_so(capsys):
    clock = Clock()
    progress = Progress(60.0, clock)
    progress.begin([cell("pgd-20")], 0)
    progress.wait([cell("pgd-20")])
    clock.now = 61.0
    progress.heart.beat()
    assert capsys.readouterr().err.splitlines()[-1].endswith("waiting for another run in this folder")


def test_every_settled_cell_is_a_line_with_its_number(capsys):
    """Those stored are told before; a check beside the table is told only where it failed, and has no number."""
    cells = [cell("pgd-20"), cell("square"), cell("fgsm"), cell("noise")]
    progress = Progress(60.0, Clock())
    progress.begin(cells[:2], 3, cells[2:])

    progress.end(cells[0], done(3))
    progress.end(cells[2], done())
    progress.end(cells[3], Failed("out of memory"))
    progress.end(cells[1], Failed("broken"))

    assert capsys.readouterr().err.splitlines() == [
        "3 cells stored already, 2 to run",
        "[1/2] at x pgd-20 (Linf:0.2): 75.0% robust (0 s)",
        "check at x noise (Linf:0.2): FAIL: out of memory",
        "[2/2] at x square (Linf:0.2): FAIL: broken (0 s)",
    ]
    assert (progress.cells, progress.stored) == (tuple(cells[:2]), 3)


def test_a_cell_that_others_finish_is_a_line_without_a_number(capsys):
    """One share's part of a cell says nothing about robustness; its bar is done all the same."""
    cells = [replace(cell("pgd-20"), batch=1), replace(cell("square"), batch=1), cell("noise")]
    progress = Progress(60.0, Clock())
    progress.begin(cells[:2], 0, cells[2:])

    progress.leave(cells[0], 2)
    progress.leave(cells[2], 1)
    progress.leave(cells[1], 4)

    assert capsys.readouterr().err.splitlines() == [
        "[1/2] at x pgd-20 (Linf:0.2): 2 of 4 shards, the others belong to other shares",
        "[2/2] at x square (Linf:0.2): 4 of 4 shards, an alarm needs them in one run",
    ]
    assert whole(progress).completed == whole(progress).total


@pytest.mark.parametrize("backwards", [0, 10])
def test_the_bar_of_the_whole_run_is_full_when_its_cells_are(backwards):
    """However early an attack stops, and whatever comes of a shard after its cell has failed."""
    one, two = cell("pgd-20", backwards), cell("square", backwards)
    progress = Progress(60.0, Clock())
    progress.begin([one, two], 0)
    assert whole(progress).total == one.passes() + two.passes()

    progress.advance(one, 4)
    assert whole(progress).completed == 4 * (3 if backwards else 1)
    progress.end(one, done())
    assert whole(progress).completed == one.passes()
    progress.advance(one, 4)
    assert whole(progress).completed == one.passes()
    progress.advance(two, 10**6)
    assert whole(progress).completed == whole(progress).total
    progress.end(two, done())
    assert whole(progress).completed == whole(progress).total


def test_the_seconds_are_those_since_a_cell_began(capsys):
    clock = Clock()
    progress = Progress(60.0, clock)
    progress.begin([cell("pgd-20")], 0)
    clock.now = 100.0
    progress.advance(cell("pgd-20"), 1)
    clock.now = 107.0
    progress.end(cell("pgd-20"), done())

    assert capsys.readouterr().err.endswith("(7 s)\n")


def test_no_more_than_four_at_work_are_named():
    cells = [cell(f"attack-{index}") for index in range(6)]
    progress = Progress(60.0, Clock())
    progress.begin(cells, 0)
    for each in cells:
        progress.advance(each, 1)

    assert progress.told().count("at x ") == 4
    assert progress.told().endswith(" and 2 more")


def test_before_anything_is_computed_the_step_is_named():
    progress = Progress(60.0, Clock())
    assert progress.told().endswith("; starting")
    progress.step("reading the images of digits")
    assert progress.told().endswith("; reading the images of digits")
