"""The points of a history: numbers, breaks and paired tests."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from bench.report.gate import compare
from bench.report.history import LETTERS, Stage
from bench.report.history_points import follow
from bench.results.outcome import Evidence, Failed, Skipped
from bench.results.stats import holm, sign_flip, wilson
from tests.report.histories import BLOCK, N, result, row, stage


def test_a_point_has_the_accuracy_and_interval_of_its_stage():
    found = follow([stage(result(120, clean=180)), stage(result(120, clean=180))])

    assert [each.accuracy.value for each in row(found).points] == [0.6, 0.6]
    assert row(found).points[0].accuracy.interval == wilson(120, N)
    assert [each.accuracy.value for each in row(found, "").points] == [0.9, 0.9]
    assert [each.place.attack for each in found.rows] == ["", "pgd-20"]
    assert [len(each.segments()) for each in found.rows] == [1, 1]


@pytest.mark.parametrize(
    ("before", "after", "verdict"), [(120, 90, "fell"), (90, 120, "rose"), (120, 118, "not seen to move")]
)
def test_two_numbers_are_tested_image_by_image_as_the_gate_does(before, after, verdict):
    """p by the permutation test of the counts, Holm-adjusted over the two rows of the step."""
    old, new = result(before), result(after)

    point = row(follow([stage(old), stage(new)])).points[1]

    differences = old.outcome.verdicts.adversarial.astype(int) - new.outcome.verdicts.adversarial
    one_sided = min(sign_flip(differences), sign_flip(-differences))
    assert point.verdict == verdict
    assert point.p == pytest.approx(holm([one_sided, 1.0])[0])
    assert point.drop == pytest.approx((before - after) / N)
    assert (compare([old], [new]).exit_code == 1) is (verdict == "fell")


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"digest": "new"}, ("defense",)),
        ({"protocol": "2"}, ("protocol",)),
        ({"n": N + 10}, ("images",)),
        ({"batch": 64}, ("settings",)),
        ({"digest": "new", "n": N + 10, "protocol": "2"}, ("defense", "protocol", "images")),
    ],
)
def test_a_number_of_another_thing_breaks_the_line(changes, changed):
    found = follow([stage(result(120)), stage(result(120, **changes)), stage(result(120, **changes))])

    for attack in ("", "pgd-20"):
        assert [each.changed for each in row(found, attack).points] == [(), changed, ()]
        assert [[point.at for point in each] for each in row(found, attack).segments()] == [[0], [1, 2]]
    text = str(found)
    told = "".join(LETTERS[each][0] for each in changed)
    assert f"|{told} 60.0" in text or f"|{told} 57.1" in text
    for each in changed:
        assert LETTERS[each][1] in " ".join(text.split())


def test_another_version_of_an_attack_breaks_its_own_line_only():
    new = result(120)
    new = replace(new, cell=replace(new.cell, attack=replace(new.cell.attack, digest="another")))

    found = follow([stage(result(120)), stage(new)])

    assert row(found).points[1].changed == ("attack",)
    assert row(found, "").points[1].changed == ()


def test_new_weights_under_the_old_label_are_tested_and_marked():
    """A drop that comes with other weights is a drop of what carries the label."""
    point = row(follow([stage(result(150)), stage(result(90, digest="new"))])).points[1]

    assert (point.changed, point.verdict) == (("defense",), "fell")


def test_what_cannot_be_paired_has_no_p():
    old, new = result(120), result(100, draws=1)
    new = replace(new, cell=replace(new.cell, precision="bfloat16"))

    found = follow([stage(old), stage(new)])
    point = row(found).points[1]

    assert (point.verdict, point.changed) == ("not comparable", ("settings",))
    told = next(each for each in found.to_json()["rows"] if each["attack"])["points"][1]
    assert (told["p"], told["drop"]) == (None, None)


@pytest.mark.parametrize(
    ("change", "state", "shown"),
    [
        ({"findings": (BLOCK,)}, "blocked", "BLOCK"),
        ({"outcome": Failed("boom")}, "failed", "FAIL"),
        ({"outcome": None}, "missing", "..."),
        ({"outcome": Skipped("no such thing")}, "skipped", "-"),
    ],
)
def test_what_has_no_number_is_shown_as_such_and_breaks_the_line(change, state, shown, tmp_path):
    """A blocked defense gets none even where its cell was computed; the next number is tested against the last one."""
    found = follow([stage(result(150)), stage(replace(result(10), **change)), stage(result(90))])

    points = row(found).points
    assert [each.state for each in points] == ["done", state, "done"]
    assert points[1].accuracy is None
    assert points[2].verdict == "fell"
    assert [[point.at for point in each] for each in row(found).segments()] == [[0], [2]]
    line = next(line for line in str(found).splitlines() if "pgd-20" in line)
    assert line.split()[3:] == ["75.0", shown, "45.0", "v"]
    with found.to_csv(tmp_path / "h.csv").open(newline="") as file:
        told = [each for each in csv.DictReader(file) if each["attack"] and each["outcome"] == state]
    assert [each["accuracy"] for each in told] == [""]
    assert "5.0" not in str(found).replace("75.0", "").replace("45.0", "").split("[", 1)[0]


def test_a_blocked_defense_has_no_standard_accuracy_and_no_other_numbers_either():
    """The block is on one cell; the defense has another one."""
    blocked = replace(result(10), findings=(BLOCK,))

    found = follow([stage(blocked, result(20, attack="fgsm")), stage(result(90))])

    assert {point.state for each in found.rows for point in each.points if point.at == 0} == {"blocked"}


def test_an_upper_bound_is_marked_and_never_tested():
    bound = result(180)
    bound = replace(bound, outcome=replace(bound.outcome, evidence=Evidence(unable=("apgd-ce",))))

    found = follow([stage(result(150)), stage(bound), stage(result(90))])

    points = row(found).points
    assert [each.state for each in points] == ["done", "partial", "done"]
    assert [each.verdict for each in points] == ["", "", "fell"]
    assert points[2].drop == pytest.approx(0.3)
    assert "<= 90.0" in str(found)
    assert len(row(found).segments()) == 3


def test_weights_that_changed_for_some_cells_only_are_told():
    found = follow(
        [
            stage(result(120), result(120, attack="fgsm"), name="a"),
            stage(result(120), result(150, attack="fgsm", digest="new"), name="b"),
        ]
    )

    assert "2 (b): holds 2 different defenses called 'at'" in " ".join(str(found).split())


def test_of_two_numbers_of_images_the_larger_is_shown_and_told():
    found = follow([stage(result(50, n=100), result(120)), stage(result(120))])

    assert [each.accuracy.n for each in row(found).points] == [N, N]
    assert "holds several numbers of images" in " ".join(str(found).split())


def test_a_stage_that_cannot_be_read_is_told_and_the_others_stand():
    found = follow([stage(result(120)), Stage("b", trouble="damaged"), stage(result(120))])

    assert [each.at for each in row(found).points] == [0, 2]
    assert "2 (b) cannot be read: damaged" in " ".join(str(found).split())
