"""Corruption columns: beside the table, never mixed with attacks."""

import numpy as np
import pytest
import torch

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.examples import Examples
from bench.harness import corruptions
from bench.harness.evaluate import evaluate
from bench.report.tables import make_table
from bench.results.accuracy import defense_rows
from bench.results.cell import Cell, Result, Slice
from bench.results.frame import rows
from bench.results.outcome import Done, Verdicts
from bench.threats import ThreatModel
from bench.types import Defense, ImageSpec


class Threshold(torch.nn.Module):
    """Class 1 where the image is brighter than a half."""

    def forward(self, x):
        brightness = x.mean((1, 2, 3))
        return torch.stack([0.5 - brightness, brightness - 0.5], 1)


class Replaced:
    """A shift that gives fixed images."""

    def __init__(self, x):
        self.x = x

    def images(self, examples, severity):
        return self.x * severity


def cell(attack, threat, n=4):
    ref = DefenseRef("mine", "mine", "digest")
    return Cell(
        ref, AttackRef(attack, attack, attack), ThreatModel.parse(threat), Slice("digits", "test", n, "s"), 0, 1, 8
    )


def filled(brightness):
    return np.full((4, 1, 2, 2), 1, np.float32) * np.array(brightness, np.float32)[:, None, None, None]


def test_every_image_is_asked_and_none_is_attacked():
    """An image that is wrong as it is and right when corrupted counts as right there."""
    x, y = filled([0.2, 0.8, 0.2, 0.8]), np.array([0, 1, 1, 1])
    examples = Examples("digits", "test", list("abcd"), x, y, ImageSpec((1, 2, 2), 2))

    found, judged = evaluate(
        cell("dim", "corruption:2"), Defense(Threshold()), Replaced(filled([0.3, 0.1, 0.4, 0.4])), examples
    )

    assert found.verdicts.clean.tolist() == [1, 1, 0, 1]
    assert found.verdicts.adversarial.tolist() == [0, 0, 1, 1]
    assert found.cost.forwards == found.cost.backwards == 0
    assert judged.x_adv[0, 0, 0, 0] == pytest.approx(0.6)


def done(counts):
    return Done(Verdicts(1, np.ones(4, np.uint8), np.array(counts, np.uint8)))


@pytest.fixture
def results():
    return [
        Result(cell("fgsm", "Linf:0.1"), done([1, 1, 1, 0])),
        Result(cell("dim", "corruption:1"), done([1, 1, 1, 1])),
        Result(cell("dim", "corruption:2"), done([1, 1, 0, 0])),
        Result(cell("fog", "corruption:1"), done([0, 0, 0, 0])),
    ]


def test_no_worst_case_holds_a_corruption(results):
    """The corrupted images break more than the attack; the worst case is the attack's alone."""
    (row,) = defense_rows(results)

    assert row.worst("all", row.judges[0]).accuracy.value == 0.75
    assert row.worst("unseen", row.judges[0]).accuracy.value == 0.75


def test_the_table_shows_a_mean_per_corruption_and_one_of_all(results):
    """0.75 over the severities of dim, 0 of fog, 0.5 over all three columns; behind the worst cases."""
    table = make_table(results)

    shown = {" ".join(head): cell_.text for head, cell_ in zip(table.header, table.rows[0], strict=True)}
    assert list(shown)[-3:] == ["dim corruption", "fog corruption", "mean corruption"]
    assert (shown["dim corruption"], shown["fog corruption"], shown["mean corruption"]) == ("75.0", "0.0", "50.0")
    assert any("no worst case" in note for note in table.notes)


def test_the_leaderboard_keeps_them_apart_too(results):
    """Every severity in its own line, none of kind `attack`."""
    lines = rows(results)

    kinds = {(line["column"], line["attack"], line["threat"]): line["accuracy"] for line in lines}
    assert kinds["corruption", "dim", "corruption:2"] == "50.00"
    assert kinds["corruption-mean", "", ""] == "50.00"
    assert [line["attack"] for line in lines if line["column"] == "attack"] == ["fgsm"]


def test_cells_are_planned_per_severity_and_known_by_their_pixels(tmp_path, monkeypatch):
    """Other corrupted images are another cell."""
    monkeypatch.setattr(corruptions, "names", lambda folder: ["fog"])
    examples = Examples(
        "digits", "test", list("abcd"), filled([0.1] * 4), np.zeros(4, np.int64), ImageSpec((1, 2, 2), 2)
    )

    def plan(x):
        monkeypatch.setattr(corruptions.Shift, "images", lambda self, examples, severity: x * severity)
        return corruptions.build(corruptions.ShiftRequest(tmp_path), [DefenseRef("mine", "mine", "digest")], examples)

    first, again, other = plan(filled([0.1] * 4)), plan(filled([0.1] * 4)), plan(filled([0.2] * 4))

    assert [str(each.cell.threat) for each in first] == [f"corruption:{severity}" for severity in range(1, 6)]
    assert [each.cell.key for each in first] == [each.cell.key for each in again]
    assert not {each.cell.key for each in first} & {each.cell.key for each in other}
