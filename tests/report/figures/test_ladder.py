"""The ladder: rungs, drops, the control and the base are those of the ladder."""

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.study import Rung, Study
from bench.errors import BenchError
from bench.report import ladder as text
from bench.report.figures.ladder import ladder
from bench.results.outcome import Done, Verdicts
from tests.report.figures.drawn import BLOCK, HOSTILE, LINF, done, result, texts
from tests.report.figures.test_forest import points

STUDY = Study("", {}, (Rung("blind", "blind"), Rung("full", "pgd-20"), Rung("EOT", "pgd-eot-20")), ("base",))


def cells(defense="atop", findings=()):
    left = {"blind": [10, 9, 10, 6], "pgd-20": [10, 4, 3, 1], "pgd-eot-20": [8, 2, 0, 0]}
    held = {name: done(counts, clean=[10, 10, 10, 8], draws=10) for name, counts in left.items()}
    return [result(defense, name, LINF, each, draws=10, findings=findings) for name, each in held.items()]


def base(cell):
    one = np.array([1, 0, 0, 0], dtype=np.uint8)
    return Done(Verdicts(1, one, one))


def test_rungs_intervals_and_drops_are_those_of_the_ladder():
    (found,) = text.ladders(cells(), STUDY, base)
    figure = ladder([found])
    (axes,) = figure.axes

    steps = [found.clean, *found.steps, found.union]
    means, worsts = points(axes)[::2], points(axes)[1::2]
    assert [each.get_text() for each in axes.get_yticklabels()] == [
        "no attack",
        "blind",
        "full",
        "EOT",
        "worst case of all",
    ]
    for row, (step, mean, worst) in enumerate(zip(steps, means, worsts, strict=True)):
        assert mean == pytest.approx((row, *(100 * part for part in (step.mean.value, *step.mean.interval))))
        assert worst == pytest.approx((row, *(100 * part for part in (step.worst.value, *step.worst.interval))))
    drops = [each.get_text() for each in axes.texts]
    assert [each.split(" ")[0] for each in drops] == [f"−{100 * step.drop:.1f}" for step in found.steps[1:]]
    assert next(each for each in axes.get_lines() if each.get_label() == "undefended base").get_xdata()[0] == 25.0


def test_a_rung_that_breaks_less_has_a_plus():
    (found,) = text.ladders(cells(), STUDY, base)
    turned = replace(
        found, steps=(found.steps[0], replace(found.steps[1], drop=-0.1, p=0.0001), replace(found.steps[2], drop=0.0))
    )

    (axes,) = ladder([turned]).axes

    assert [each.get_text() for each in axes.texts] == ["+10.0 (p < 0.001)", f"±0.0 (p = {turned.steps[2].p:.2g})"]


def test_a_blocked_defense_has_no_number_in_figure_and_text():
    (found,) = text.ladders(cells(findings=[BLOCK]), STUDY, base)
    (axes,) = ladder([found]).axes

    assert points(axes) == []
    assert [each.get_text() for each in axes.texts] == ["BLOCK"]
    assert "BLOCK: S05: it answers from the label" in text.render([found])
    assert "[" not in text.render([found])


def test_what_was_left_out_is_told_once_with_its_ladders():
    rungs = [cells(name)[:2] for name in ("atop", "ap")]
    found = text.ladders([each for some in rungs for each in some], STUDY, base)

    told = " ".join(texts(ladder(found)))

    assert told.count("EOT: not run") == 1


def test_without_a_ladder_the_remedy_is_named():
    with pytest.raises(BenchError, match="bench run --study ladder"):
        ladder([])


def test_labels_of_others_are_plain_text():
    found = text.ladders([each for label in HOSTILE for each in cells(label)], STUDY, base)

    assert not any(char < " " and char != "\n" for each in texts(ladder(found)) for char in each)
