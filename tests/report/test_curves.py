"""Accuracy against eps, from one run of a minimum-norm attack and from sweeps."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.report.curves import curves, render, write_csv
from bench.report.figures.curves import curves as draw
from bench.results.cell import Cell, Result, Slice
from bench.results.outcome import Cost, Done, Evidence, Verdicts
from bench.threats import ThreatModel
from tests.report.figures.drawn import texts


def result(attack, threat, held, distances=(), defense="at"):
    cell = Cell(
        DefenseRef(defense, defense, defense),
        AttackRef(attack, attack, attack),
        ThreatModel.parse(threat),
        Slice("digits", "test", len(held), "s"),
        0,
        1,
        8,
    )
    clean = np.array([1 if distance != 0 else 0 for distance in distances] or [1] * len(held), np.uint8)
    verdicts = Verdicts(1, clean, np.array(held, np.uint8))
    return Result(cell, Done(verdicts, Cost(), Evidence(distances=tuple(distances))))


def values(curve):
    return {float(eps): accuracy.value for eps, accuracy in curve.points.items()}


def test_distances_give_the_accuracy_at_every_smaller_eps():
    """Wrong without attack, broken at 0.3 and 0.8, never broken: 3/4, then 2/4, then 1/4."""
    run = result("fmn", "L2:1", [0, 0, 0, 1], (0.0, 0.3, 0.8, None))

    (curve,) = curves([run], points=4)

    assert curve.exact
    assert values(curve) == {0: 0.75, 0.25: 0.75, 0.5: 0.5, 0.75: 0.5, 1: 0.25}


def test_an_example_broken_at_exactly_eps_is_broken_there():
    run = result("fmn", "L2:1", [0, 1], (0.5, None))

    (curve,) = curves([run], points=2)

    assert values(curve)[0.5] == 0.5


def test_a_sweep_is_a_curve_of_its_own_runs():
    """One cell per eps, nothing read in between; a single eps is no curve."""
    sweep = [result("pgd-20", f"Linf:{eps}", held) for eps, held in (("0.1", [1, 1]), ("0.2", [1, 0]))]
    alone = result("fgsm", "Linf:0.1", [1, 1])

    found = curves([*sweep, alone])

    assert [curve.attack for curve in found] == ["pgd-20"]
    assert values(found[0]) == {0: 1, 0.1: 1, 0.2: 0.5}
    assert not found[0].exact


def test_distances_are_read_at_the_sizes_of_a_sweep_beside_them():
    """So that both stand in the same columns."""
    sweep = [result("pgd-20", f"L2:{eps}", [1, 1]) for eps in ("0.3", "0.7")]
    run = result("fmn", "L2:1", [0, 0], (0.2, 0.6))

    exact = next(curve for curve in curves([*sweep, run], points=1) if curve.exact)

    assert values(exact) == {0: 1, 0.3: 0.5, 0.7: 0, 1: 0}


def test_the_table_has_a_row_per_curve_and_the_csv_a_line_per_point(tmp_path):
    run = result("fmn", "Linf:8/255", [0, 1], (0.01, None))
    found = curves([run], points=2)

    text = render(found)
    write_csv(found, tmp_path / "curves.csv")

    assert "robust accuracy (%) against eps in Linf" in text
    assert "4/255" in text
    assert "8/255" in text
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert len(lines) == 1 + 3
    assert lines[2].startswith("digits,test,2,at,fmn,Linf,0,0.0156863,50.00,")


def test_no_curve_is_a_mistake_with_a_remedy():
    with pytest.raises(BenchError, match="run a minimum-norm attack such as fmn"):
        render(curves([result("fgsm", "Linf:0.1", [1, 1])]))


def test_sizes_are_exact_fractions():
    """A third of a step of 8/255 is no rounded decimal."""
    (curve,) = curves([result("fmn", "Linf:8/255", [1], (None,))], points=3)

    assert Fraction(8, 765) in curve.points


def test_a_curve_reads_the_nearest_points_not_the_first_ones(halfspace, images):
    """On a halfspace the distances of FMN are the analytic ones, however large the ball it may use."""
    import torch

    from bench.attacks.minimum_norm.fmn import FMN
    from bench.datasets.examples import Examples
    from bench.harness.evaluate import evaluate
    from bench.types import Defense, ImageSpec

    model, x = halfspace(), images(6)
    y = model(x).argmax(1)
    examples = Examples("digits", "test", list("abcdef"), x.numpy(), y.numpy(), ImageSpec((1, 8, 8), 2))
    reach = model.distance(x, y, "L2")
    cell = result("fmn", "L2:4", [1] * 6).cell

    found, _ = evaluate(cell, Defense(model), FMN(), examples)

    ratio = torch.tensor(found.evidence.distances, dtype=torch.float64) / reach
    assert ratio.min() > 0.999
    assert ratio.max() < 1.05


def test_archives_of_others_are_no_sweep():
    """Two archives of one name under two sizes were made by two searches; nothing lies between."""
    archives = [
        replace(each, cell=replace(each.cell, attack=replace(each.cell.attack, access=ACCESS)))
        for each in (result("import:a", "Linf:0.1", [1, 1]), result("import:a", "Linf:0.2", [1, 0]))
    ]

    assert curves(archives, points=2) == []


def test_a_size_at_which_parts_of_the_attack_found_no_gradient_is_an_upper_bound():
    whole, lost = (result("autoattack", f"Linf:{eps}", held) for eps, held in (("0.1", [1, 0]), ("0.2", [1, 1])))
    lost = replace(lost, outcome=replace(lost.outcome, evidence=Evidence(unable=("apgd-ce",))))

    found = curves([whole, lost])

    assert [each.complete for each in found[0].points.values()] == [True, True, False]
    (line,) = [line for line in render(found).splitlines() if "autoattack" in line]
    assert line.split()[2:] == ["100.0", "50.0", "<=", "100.0"]
    assert any("only an upper bound" in text for text in texts(draw(found)))


def test_an_attack_that_knew_the_draws_is_no_curve():
    sweep = [result("known-draws", f"Linf:{eps}", held) for eps, held in (("0.1", [1, 1]), ("0.2", [1, 0]))]
    known = [replace(one, cell=replace(one.cell, attack=replace(one.cell.attack, known_draws=True))) for one in sweep]

    assert curves(known) == []
    assert len(curves(sweep)) == 1
