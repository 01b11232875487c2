"""What a new baseline changes: every cell, image by image, and what else is not the same."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import BenchError
from bench.report.baseline import described, difference
from bench.results.finding import Finding
from bench.results.outcome import Done, Failed, Skipped, Verdicts
from bench.results.stats import smallest_detectable_drop
from tests.report.ci.reports import HOSTILE
from tests.report.test_floors import result

BLOCK = Finding("S05", "block", "1", "0", "S05: answers depend on the batch")


def changed(each, part, **changes):
    return replace(each, cell=replace(each.cell, **{part: replace(getattr(each.cell, part), **changes)}))


def kinds(found):
    return {change.title: change.kind for change in found.changes}


def test_the_same_results_change_nothing():
    found = difference([result(40)], [result(40)])

    assert set(kinds(found).values()) == {"same"}
    assert found.text() == "0 added, 0 removed, 0 changed, 2 same"


def test_images_that_differ_are_counted_one_by_one():
    """40 and 40 of 100, but ten of them others: the accuracy is the same and 20 images are not."""
    shifted = np.zeros(100, np.uint8)
    shifted[10:50] = 1
    other = result(Done(Verdicts(1, np.ones(100, np.uint8), shifted)))

    found = difference([result(40)], [other])
    standard, cell = found.changes

    assert (cell.kind, cell.old, cell.new, cell.differing) == ("changed", 0.4, 0.4, 20)
    assert (standard.title, standard.old, standard.new, standard.differing) == ("at, standard accuracy", 0.9, 1.0, 10)


def test_cells_come_and_go():
    found = difference([result(40), result(30, attack="fgsm")], [result(40), result(20, threat="L2:1")])

    assert kinds(found) == {
        "at, standard accuracy": "same",
        "at x pgd-20 (Linf:0.2)": "same",
        "at x fgsm (Linf:0.2)": "removed",
        "at x pgd-20 (L2:1)": "added",
    }
    assert "1 added, 1 removed, 0 changed, 2 same" in found.text()


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda r: changed(r, "defense", digest="f" * 64), "defense at -> ffffffff"),
        (lambda r: changed(r, "attack", digest="f" * 64), "attack pgd-20 -> ffffffff"),
        (lambda r: changed(r, "attack", config={"steps": 7}), "attack.steps unset -> 7"),
        (lambda r: changed(r, "slice", digest="f" * 64), "images 100 (eeeeeeee) -> 100 (ffffffff)"),
        (lambda r: replace(r, cell=replace(r.cell, protocol="2")), "protocol unset -> 2"),
        (lambda r: replace(r, cell=replace(r.cell, seed=7)), "seed 0 -> 7"),
        (lambda r: replace(r, cell=replace(r.cell, precision="bfloat16")), "searched in float32 -> bfloat16"),
    ],
)
def test_what_else_changes_is_told_even_if_no_verdict_does(change, fact):
    found = difference([result(40)], [change(result(40))])

    assert kinds(found)["at x pgd-20 (Linf:0.2)"] == "changed"
    assert fact in found.changes[-1].facts
    assert fact in found.text()


def test_no_count_is_made_of_images_that_are_not_the_same():
    found = difference([result(40)], [changed(result(40), "slice", digest="f" * 64)])

    assert found.changes[-1].differing is None


@pytest.mark.parametrize(
    ("outcome", "state"), [(None, "missing"), (Failed("boom"), "failed"), (result(30).outcome, "blocked")]
)
def test_what_is_no_number_is_shown_as_none(outcome, state):
    """Also the other cells of a defense that a check blocks at one of them."""
    findings = (BLOCK,) if state == "blocked" else ()
    new = [result(outcome, findings=findings), result(20, attack="fgsm")]

    found = difference([result(40), result(20, attack="fgsm")], new)
    cells = {change.title: change for change in found.changes}

    assert cells["at x pgd-20 (Linf:0.2)"].new is None
    assert cells["at x pgd-20 (Linf:0.2)"].facts == (f"done -> {state}",)
    if state == "blocked":
        assert cells["at x fgsm (Linf:0.2)"].new is None
        assert cells["at, standard accuracy"].new is None
        assert "%" not in described(new, {}, None).split("\n\n")[0].replace("95 %", "")


def test_skipped_cells_are_left_out_until_they_are_cells():
    skipped = result(Skipped("no such pair"))

    assert difference([skipped], [skipped]).changes == ()
    assert kinds(difference([skipped], [result(40)]))["at x pgd-20 (Linf:0.2)"] == "added"
    assert kinds(difference([result(40)], [skipped]))["at x pgd-20 (Linf:0.2)"] == "removed"


def test_two_results_for_one_place_are_no_baseline():
    with pytest.raises(BenchError, match="two results for at x pgd-20"):
        difference([], [result(40), result(40)])


def test_the_plain_data_is_what_is_printed():
    told = json.loads(json.dumps(difference([result(40)], [result(30)], ["x: missing"]).to_json()))

    assert [change["differing"] for change in told["changes"]] == [0, 10]
    assert told["unfinished"] == ["x: missing"]
    assert told["written"] is False


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_reaches_the_terminal_as_more_than_text(name):
    old = [result(40, defense=name, attack=name)]
    new = [changed(result(30, defense=name, attack=name), "attack", config={name: name})]

    texts = difference(old, new, [name]).text(100), described(new, {name: 1}, 100)

    assert all(line.isprintable() for text in texts for line in text.split("\n"))


def test_a_baseline_is_described_with_what_it_can_show():
    text = described([result(40), result(30, attack="fgsm")], {"torch 2.13": 2}, None)
    drop = smallest_detectable_drop(100, 0.01 / 3, min_effect=0.01)

    assert text.splitlines()[2:5] == [
        "at, standard accuracy   100    90.0 %   [82.6, 94.5]",
        "at x pgd-20 (Linf:0.2)  100    40.0 %   [30.9, 49.8]",
        "at x fgsm (Linf:0.2)    100    30.0 %   [21.9, 39.6]",
    ]
    assert "2 cells by torch 2.13" in text
    assert f"3 cells: a gate would catch drops of {100 * drop:.1f} points or more" in text
