"""The figure of a history: every number where it belongs, broken where it is of another thing."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")

from matplotlib.collections import PathCollection

from bench.errors import BenchError
from bench.report.figures.files import save
from bench.report.history import Stage
from bench.report.history_points import follow
from bench.results.cell import Result
from bench.results.finding import Finding
from bench.results.outcome import Failed
from tests.report.histories import cell_of, done_of


def result(right, **cell):
    found = cell_of(**cell)
    return Result(found, done_of(right, found.slice.n))


STAGES = [
    Stage("first", "2026-01-01T00:00", (result(150), result(40, attack="fgsm"))),
    Stage("second", "2026-01-02T00:00", (result(90), result(40, attack="fgsm"))),
    Stage(
        "third", "2026-01-03T00:00", (result(90, digest="new"), replace(result(3, attack="fgsm"), outcome=Failed("x")))
    ),
]


def lines(axes):
    """The points of every line with data, without the ends of bars."""
    found = []
    for each in axes.containers:
        line = each.lines[0]
        x = [float(each) for each in line.get_xdata()]
        assert all(abs(each - round(each)) <= 0.15 + 1e-9 for each in x)  # series stand a little apart
        found.append(([round(each) for each in x], [round(float(y), 4) for y in line.get_ydata()]))
    return sorted(found)


def test_each_segment_is_a_line_of_its_numbers():
    figure = follow(STAGES).plot()

    (axes,) = [each for each in figure.axes if each.get_visible()]
    assert lines(axes) == sorted(
        [
            ([1, 2], [75.0, 45.0]),
            ([3], [45.0]),
            ([1, 2], [20.0, 20.0]),
            ([1, 2], [100.0, 100.0]),
            ([3], [100.0]),
        ]
    )
    texts = [each.get_text() for each in axes.texts]
    assert "d" in texts
    assert "FAIL" in texts
    (triangle,) = [each for each in axes.collections if isinstance(each, PathCollection)]  # the one number that fell
    ((x, y),) = triangle.get_offsets()
    assert (round(x), y) == (2, 45.0)


def test_a_blocked_defense_has_no_point():
    block = Finding("S05", "block", "1", "0", "S05: masked")
    blocked = [Stage("a", "", (replace(result(150), findings=(block,)), result(100, label="ap")))]

    figure = follow(blocked).plot()

    axes = {each.get_title(): each for each in figure.axes}
    assert lines(axes["at"]) == []
    assert "BLOCK" in [each.get_text() for each in axes["at"].texts]
    assert lines(axes["ap"]) == [([1], [50.0]), ([1], [100.0])]


def test_without_a_number_there_is_no_figure():
    with pytest.raises(BenchError, match="no number in this history"):
        follow([Stage("a", "", (replace(result(1), outcome=Failed("x")),))]).plot()


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png", ".pgf"])
def test_hostile_names_are_drawn_as_text_and_the_bytes_repeat(tmp_path, suffix):
    name = "<img src=x onerror=alert(1)> $\\input{/etc/passwd}$ =cmd|x\x1b[2J\n"
    stages = [
        Stage(name, "2026", (result(150, label=name, attack=name),)),
        Stage("b", "", (result(20, label=name, attack=name),)),
    ]

    one, other = (save(follow(stages).plot(), tmp_path / f"{index}{suffix}").read_bytes() for index in (0, 1))

    assert one == other
    if suffix == ".svg":
        tags = [each.tag for each in ET.fromstring(one).iter()]  # noqa: S314  (made above)
        assert not [tag for tag in tags if tag.endswith(("}img", "}script"))]


def test_many_stages_are_named_at_both_ends():
    stages = [Stage(f"stage {index}", "", (result(150 - index),)) for index in range(40)]

    figure = follow(stages).plot()

    told = "\n".join(each.get_text() for each in figure.texts)
    assert "1: stage 0" in told
    assert "40: stage 39" in told
    assert "20: stage 19" not in told
