"""Curves: each point and band is that of the curve, a panel for each family."""

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from bench.errors import BenchError
from bench.report import curves as text
from bench.report.curves import curves as made
from bench.report.figures.curves import curves
from tests.report.figures.drawn import BLOCK, HOSTILE, done, result, texts

DISTANCES = (0.0, 0.01, 0.02, None)


def cells(*defenses, findings=()):
    found = []
    for defense in defenses:
        held = done([0, 0, 0, 1], clean=[0, 1, 1, 1], distances=DISTANCES)
        found.append(result(defense, "fmn", "Linf:8/255", held, findings=findings))
        for eps, left in (("4/255", [1, 1, 1, 0]), ("8/255", [1, 0, 1, 0])):
            found.append(result(defense, "pgd-20", f"Linf:{eps}", done(left), findings=findings))
        for eps, left in (("0.25", [1, 1, 1, 1]), ("0.5", [1, 0, 0, 0])):
            found.append(result(defense, "pgd-20", f"L2:{eps}", done(left), findings=findings))
    return found


def lines(axes):
    return {each.get_label(): each for each in axes.get_lines() if not each.get_label().startswith("_")}


def test_points_and_bands_are_the_accuracies_in_percent():
    found = made(cells("at", "standard"))
    figure = curves(found)
    linf, l2 = [axes for axes in figure.axes if axes.get_visible()]

    assert set(lines(linf)) == {f"{name}, {attack}" for name in ("at", "standard") for attack in ("fmn", "pgd-20")}
    assert set(lines(l2)) == {"at, pgd-20", "standard, pgd-20"}
    for axes, family, scale in ((linf, "Linf", 255), (l2, "L2", 1)):
        for curve in (each for each in found if each.family == family):
            line = lines(axes)[f"{curve.defense}, {curve.attack}"]
            assert line.get_xdata() == pytest.approx([float(eps) * scale for eps in curve.points])
            assert line.get_ydata() == pytest.approx([100 * each.value for each in curve.points.values()])
    bands = [each for each in linf.collections if isinstance(each, PolyCollection)]
    first = next(each for each in found if each.family == "Linf")
    ends = {round(100 * end, 6) for each in first.points.values() for end in each.interval}
    assert ends == {round(float(y), 6) for y in np.unique(bands[0].get_paths()[0].vertices[:, 1])}
    assert "in 1/255" in linf.get_xlabel()


def test_no_two_curves_look_alike_without_color():
    figure = curves(made(cells(*"abcde")))
    looks = [(each.get_marker(), each.get_linestyle()) for each in lines(figure.axes[0]).values()]

    assert len(set(looks)) == len(looks) == 10


def test_a_blocked_defense_has_no_curve_in_figure_and_table():
    found = made([*cells("at"), *cells("cheat", findings=[BLOCK])])
    figure = curves(found)

    assert not [label for axes in figure.axes for label in lines(axes) if "cheat" in label]
    assert any("cheat: BLOCK" in each for each in texts(figure))
    assert [len(each.points) for each in found if each.defense == "cheat"] == [0, 0, 0]
    for line in text.render(found).splitlines():
        if "cheat" in line:
            assert line.split()[2:] == ["BLOCK"]


def test_a_folder_of_blocked_defenses_alone_still_says_so(tmp_path):
    found = made(cells("cheat", findings=[BLOCK]))

    text.write_csv(found, tmp_path / "curves.csv")

    assert "BLOCK" in text.render(found)
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 1
    assert any("BLOCK" in each for each in texts(curves(found)))


def test_without_a_curve_the_remedy_is_named():
    with pytest.raises(BenchError, match="run a minimum-norm attack such as fmn"):
        curves([])


def test_labels_of_others_are_plain_text():
    found = made([each for label in HOSTILE for each in cells(label)])

    figure = curves(found)

    assert not any(char < " " and char != "\n" for each in texts(figure) for char in each)
    assert any("$\\frac{1}{2}$" in each.replace("\n", "") for each in texts(figure))
