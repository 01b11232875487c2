"""The forest: each point and interval is the accuracy, in the row of its attack."""

import pytest

from bench.api.results import Results
from bench.report.figures.forest import forest
from bench.results.store import Store
from tests.report.figures.drawn import LINF, hostile, results, texts

ROWS = ["standard accuracy", f"pgd-20 ({LINF})", f"autoattack ({LINF})", "pgd-20 (L2:0.5)", "stadv (stadv:0.4)"]
ROWS += ["worst seen", "worst unseen", "worst all"]


def points(axes):
    """The value, the ends of its interval, and the row of each point."""
    found = []
    for held in axes.containers:
        (x,), (y,) = held.lines[0].get_data()
        ((start, end),) = [line[:, 0] for line in held.lines[2][0].get_segments()]
        found.append((round(y), float(x), float(start), float(end)))
    return found


def panel(figure, defense):
    (found,) = [axes for axes in figure.axes if axes.get_title() == defense]
    return found


def test_points_and_intervals_are_those_of_results(tmp_path):
    made = Results(tuple(results()), Store(tmp_path))
    figure = forest(made.cells, width=10)

    expected = {0: made.accuracy("at"), 1: made.accuracy("at", "pgd-20", LINF), 2: made.accuracy("at", "autoattack")}
    expected |= {4: made.accuracy("at", "stadv")}
    expected |= {5 + index: made.worst("at", which) for index, which in enumerate(("seen", "unseen", "all"))}
    drawn = {row: rest for row, *rest in points(panel(figure, "at"))}
    assert sorted(drawn) == sorted(expected)
    for row, each in expected.items():
        assert drawn[row] == pytest.approx([100 * part for part in (each.value, *each.interval)])
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == ROWS


def test_both_judges_of_a_stochastic_defense_stand_in_one_row(tmp_path):
    made = Results(tuple(results()), Store(tmp_path))

    drawn = [value for row, value, *_ in points(panel(forest(made.cells), "ap")) if row == 1]

    assert drawn == pytest.approx([100 * made.accuracy("ap", "pgd-20", LINF, each).value for each in ("mean", "worst")])


def test_a_blocked_defense_has_words_and_no_point():
    axes = panel(forest(results()), "cheat")

    assert points(axes) == []
    assert [each.get_text() for each in axes.texts] == ["BLOCK"] * len(ROWS)


def test_labels_of_others_are_plain_text():
    figure = forest(hostile(), width=8)

    assert not any(char < " " and char != "\n" for each in texts(figure) for char in each)
