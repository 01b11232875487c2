"""The matrix: its numbers are the accuracies, its groups seen and unseen; where there is no number stands a word."""

from __future__ import annotations

import pytest

from bench.api.results import Results
from bench.errors import BenchError
from bench.report.figures.matrix import matrix, readable
from bench.results.store import Store
from tests.report.figures.drawn import BLOCK, HOSTILE, L2, LINF, done, hostile, numbers, result, results, texts

PLACES = [("pgd-20", LINF), ("autoattack", LINF), ("pgd-20", L2), ("stadv", "stadv:0.4")]


def row(figure, defense):
    """What stands in the row of a defense, from left to right, without its intervals."""
    axes = figure.axes[0]
    (name,) = [each for each in axes.texts if each.get_text() == defense]
    x, y = name.get_position()
    found = [each for each in axes.texts if each.get_position()[0] > x and abs(each.get_position()[1] - y) < 0.15]
    return [
        each.get_text() for each in sorted(found, key=lambda each: each.get_position()[0]) if "[" not in each.get_text()
    ]


def test_every_number_and_interval_is_that_of_results(tmp_path):
    made = Results(tuple(results()), Store(tmp_path))
    figure = matrix(made.cells, "mean", width=10)

    expected = []
    for defense in ("at", "ap"):
        for attack, threat in [("", ""), *PLACES]:
            try:
                expected.append(made.accuracy(defense, attack, threat))
            except BenchError:
                continue
        expected += [
            made.worst(defense, which) for which in ("seen", "unseen", "all") if (defense, which) != ("ap", "seen")
        ]
    assert sorted(float(each.strip("<=*!")) for each in numbers(figure)) == sorted(
        round(100 * each.value, 1) for each in expected
    )
    for each in expected:
        assert f"[{100 * each.interval.low:.1f}, {100 * each.interval.high:.1f}]" in texts(figure)


def test_the_row_of_a_defense_reads_from_standard_to_the_worst_of_all():
    """75 % under PGD with three marks, FAIL under the other threat, and so only a bound for the unseen and for all."""
    figure = matrix(results(), width=10)

    assert row(figure, "at") == ["100.0", "75.0*!", "50.0*!", "FAIL", "50.0", "50.0!", "<=50.0", "<=25.0!"]


def test_a_column_is_seen_if_any_defense_has_seen_it_and_a_number_only_if_its_own_has():
    """The groups stand in this order, and ap, trained on nothing, has no star though it stands under `seen`."""
    figure = matrix(results(), "mean", width=10)
    places = {each.get_text(): each.get_position()[0] for each in figure.axes[0].texts}
    stadv = places["stadv"]

    assert places["autoattack"] < stadv < places["worst case"]
    assert places["seen"] < places["unseen"]
    assert row(figure, "ap") == ["100.0", "55.0", "skipped", "37.5", "missing", "skipped", "<=15.0", "<=15.0"]


def test_a_blocked_defense_has_no_number_even_where_the_cell_is_not_about_the_check():
    only = [each for each in results() if each.cell.defense.label == "cheat"]

    figure = matrix(only)

    assert numbers(figure) == []
    assert not [each for each in texts(figure) if each.startswith("[")]
    assert texts(figure).count("BLOCK") == 1 + 2 + 3


def test_words_have_no_ground_and_numbers_have():
    figure = matrix([each for each in results() if each.cell.defense.label == "cheat"])
    grounds = [each.get_facecolor()[3] for each in figure.axes[0].patches]

    assert grounds == [0.0] * 6
    assert all(
        each.get_facecolor()[3] == 1
        for each in matrix([result("at", "x", LINF, done([1, 0, 1, 1]))], width=8).axes[0].patches[:2]
    )


@pytest.mark.parametrize("width", ["column", "page", 3.0, 12.0])
def test_nothing_is_cut_off_and_no_text_lies_on_another(width):
    figure = matrix(results(), width=width)
    boxes = [each.get_window_extent() for each in figure.axes[0].texts if each.get_text()]
    wide, high = figure.get_size_inches() * figure.dpi

    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= wide and box.y1 <= high for box in boxes)
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            across = min(one.x1, other.x1) - max(one.x0, other.x0)
            along = min(one.y1, other.y1) - max(one.y0, other.y0)
            # Boxes hold room for tails and accents: a twentieth of an inch of it may be shared.
            assert across <= 0.5 or along <= 5


def test_another_judge_is_that_of_results(tmp_path):
    made = Results(tuple(results()), Store(tmp_path))

    figure = matrix(made.cells, "worst", width=10)

    assert f"{100 * made.accuracy('ap', 'pgd-20', L2, 'worst').value:.1f}" in texts(figure)
    assert "(mean-of-10)" not in texts(figure)
    with pytest.raises(BenchError, match="unknown judge of these results 'best'"):
        matrix(made.cells, "best")


def test_several_sets_of_images_are_a_mistake_with_a_remedy():
    with pytest.raises(BenchError, match=r"these results hold digits test n=4 seed 0; digits test n=4 seed 1: choose"):
        matrix([*results(), result("at", "pgd-20", LINF, done([1, 1, 1, 1]), seed=1)])
    with pytest.raises(BenchError, match="no results to draw"):
        matrix([])
    with pytest.raises(BenchError, match="'poster' is unknown: give column, page"):
        matrix(results(), width="poster")


def test_labels_of_others_are_plain_text():
    figure = matrix(hostile(), width=12)
    shown = "".join(texts(figure)).replace(" ", "")

    assert not any(char < " " for char in shown)
    # Wrapped, but whole: nothing was read as mathematics or markup.
    for label in HOSTILE[:3]:
        assert label.split()[0][:5] in shown
    assert not any(each.get_parse_math() for each in figure.axes[0].texts)


@pytest.mark.parametrize("value", [step / 20 for step in range(21)])
def test_numbers_can_be_read_on_every_ground(value):
    """WCAG asks for a contrast of 4.5 : 1 of text with its ground."""
    from matplotlib import colormaps

    def luminance(color):
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    ground = colormaps["cividis"](value)
    dark, bright = sorted((luminance(ground), {"black": 0.0, "white": 1.0}[readable(ground)]))

    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_a_check_on_any_cell_of_a_defense_blocks_its_whole_row():
    cells = [
        result("at", "pgd-20", LINF, done([1, 1, 1, 1])),
        result("at", "fgsm", LINF, done([1, 1, 1, 1]), findings=[BLOCK]),
    ]

    assert numbers(matrix(cells)) == []
