"""Cost: passes and accuracies are those of the cells, and nothing on a front is beaten by something cheaper."""

import random

import pytest

from bench.errors import BenchError
from bench.report.figures.cost import Spent, cost, front, spent
from bench.report.figures.places import rows_of
from bench.results.judging import Accuracy
from bench.results.stats import wilson
from bench.threats import ThreatModel
from tests.report.figures.drawn import BLOCK, LINF, done, hostile, result, results, texts


def marks(axes):
    found = []
    for held in axes.containers:
        (x,), (y,) = held.lines[0].get_data()
        found.append((float(x), float(y)))
    return sorted(found)


def panel(figure, title):
    (found,) = [axes for axes in figure.axes if axes.get_title() == title]
    return found


def test_a_backward_counts_as_two_forwards_per_image():
    figure = cost(results())

    # at: (84 + 2 * 42) / 4 and (4000 + 2 * 2000) / 4 passes; ap, in ten draws: (840 + 2 * 420) / 4.
    held = [each for mark in marks(panel(figure, LINF)) for each in mark]
    assert held == pytest.approx([42, 75, 420, 55, 2000, 50])
    assert panel(figure, LINF).get_xscale() == "log"


def test_a_front_is_what_no_attack_with_as_few_passes_beats():
    """Held against the definition, on random attacks with many ties."""
    draw = random.Random(0)
    threat = ThreatModel.parse(LINF)
    for _ in range(200):
        found = [
            Spent(str(index), threat, float(draw.randint(1, 6)), Accuracy(value / 6, 6, wilson(value, 6), "mean"))
            for index, value in enumerate(draw.choices(range(7), k=7))
        ]
        points = {(each.passes, each.accuracy.value) for each in found}
        best = {
            (passes, value)
            for passes, value in points
            if not any(p <= passes and v <= value and (p, v) != (passes, value) for p, v in points)
        }

        assert [(each.passes, each.accuracy.value) for each in front(found)] == sorted(best)


def test_a_blocked_defense_is_named_and_has_no_mark():
    cheat = [each for each in results() if each.cell.defense.label == "cheat"]
    figure = cost(results())

    assert spent(rows_of(cheat)[0]) == []
    assert any("cheat: BLOCK" in each for each in texts(figure))
    assert not any(each.startswith("cheat (") for each in texts(figure))
    with pytest.raises(BenchError, match="cheat: BLOCK"):
        cost(cheat)


def test_a_cell_that_counts_no_passes_is_left_out_and_counted():
    free = result("at", "free", LINF, done([1, 1, 1, 1], forwards=0, backwards=0))
    paid = result("at", "paid", LINF, done([1, 1, 1, 1]))

    assert any("1 cells without a count" in each for each in texts(cost([free, paid])))
    with pytest.raises(BenchError, match="no finished attack with a count of passes"):
        cost([free])


def test_a_check_on_another_cell_blocks_the_marks_of_the_whole_defense():
    cells = [result("at", "a", LINF, done([1, 1, 1, 1])), result("at", "b", LINF, done([1, 1, 1, 1]), findings=[BLOCK])]

    with pytest.raises(BenchError, match="at: BLOCK"):
        cost(cells)


def test_labels_of_others_are_plain_text():
    assert not any(char < " " and char != "\n" for each in texts(cost(hostile())) for char in each)


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("threats", range(1, 11))
def test_panels_of_many_threat_models_are_no_higher_than_a_page(threats, width):
    """The text of `article` in two columns is 550 points high."""
    names = ["Linf:1/255", "Linf:2/255", "Linf:4/255", LINF, "L2:0.5", "L2:1", "L2:2", "L1:12", "stadv:0.4", "L1:24"]
    cells = [result(label, "a", each, done([1, 1, 0, 0])) for label in ("at", "ap") for each in names[:threats]]
    figure = cost(cells, width=width)

    assert figure.get_figheight() * 72.27 <= 550
    assert len([each for each in figure.axes if each.get_visible()]) == threats
    assert min(each.get_window_extent().height for each in figure.axes) / figure.dpi > 0.4


def test_attacks_that_all_cost_the_same_are_still_to_be_seen():
    """In one panel or in several, which share their axis: matplotlib warns of a range that is a single place."""
    threats = (LINF, "L2:0.5")
    figure = cost([result("at", name, threat, done([1, 1, 0, 0])) for name in "ab" for threat in threats])
    low, high = figure.axes[0].get_xlim()

    assert low < 42 < high < 10 * low
