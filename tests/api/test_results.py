"""`bench.Results`: every way to read them says the same, and what is kept can be checked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bench
from tests.api.nets import Templates, own


def test_the_counts_of_the_images_make_the_accuracies(results):
    """Without attack and under each."""
    table = results.examples()

    assert len(table) == 2 * 2 * 2 * 24
    for (defense, attack, threat), part in table.groupby(["defense", "attack", "threat"]):
        assert results.accuracy(defense, attack, threat).value == pytest.approx(part["adversarial"].mean())
        assert results.accuracy(defense).value == pytest.approx(part["clean"].mean())
        assert len(set(part["id"])) == 24


@pytest.mark.parametrize("defense", ["one", "two"])
def test_the_worst_case_is_right_where_every_attack_fails(results, defense):
    """An and over the attacks, image by image."""
    table = results.examples()
    table = table[table["defense"] == defense]
    survived = table.groupby("id")["adversarial"].min()

    assert results.worst(defense).value == pytest.approx(survived.mean())
    assert results.worst(defense, "unseen").value == results.worst(defense).value
    with pytest.raises(bench.BenchError, match="no threat here was seen in training"):
        results.worst(defense, "seen")


@pytest.mark.parametrize("threat", ["Linf:0.03", "L2:0.2"])
def test_the_images_are_in_the_ball_and_the_model_answers_as_is_told(results, threat):
    """The clean ones are those that were handed over."""
    x, y = own(24)
    model, eps = Templates(), float(threat.partition(":")[2])

    found = results.images("one", "fgsm", threat)

    assert np.array_equal(found.clean, x.numpy())
    assert np.array_equal(found.labels, y.numpy())
    assert found.adversarial.min() >= 0
    assert found.adversarial.max() <= 1
    order = np.inf if threat.startswith("Linf") else 2
    far = np.linalg.norm((found.adversarial - found.clean).reshape(24, -1), order, axis=1)
    assert 0 < far.max() <= eps * (1 + 1e-5)
    with torch.no_grad():
        for answered, images in zip(found.predictions, (found.clean, found.adversarial), strict=True):
            assert np.array_equal(model(torch.from_numpy(images)).argmax(1).numpy(), answered)
    right = (found.predictions == found.labels).all(0)
    assert right.mean() == pytest.approx(results.accuracy("one", "fgsm", threat).value)


def test_images_of_several_cells_are_asked_for_by_name(results):
    with pytest.raises(bench.BenchError, match=r"these are 2 cells .*: name defense, attack and threat of one"):
        results.images("one", "fgsm")


def test_a_part_says_that_its_worst_cases_are_over_fewer_attacks(results):
    """A worst case over one of four columns is higher, and nobody may take it for one over all."""
    part = results.only(attacks=["fgsm"], threat="Linf")
    note = "worst cases and ranks are over the chosen attacks alone: 3 columns of stored attacks were left out"

    assert (results.left_out, part.left_out, part.only(defenses=["one"]).left_out) == (0, 3, 3)
    for told in (part.table(), part.table("markdown"), part.leaderboard(), str(part.to_json())):
        assert note in " ".join(told.split())
        assert note not in " ".join(results.table().split()) + " ".join(results.only(defenses="one").table().split())
    assert "over the chosen attacks of the kind" in part.table("latex")
    assert "over all attacks of the kind" in results.table("latex")


def test_the_page_of_a_part_says_so_too(results, tmp_path):
    pytest.importorskip("itables")

    page = results.only(attacks="fgsm").report(tmp_path / "part.html").read_text(encoding="utf-8")

    assert "over the chosen attacks alone: 2 columns of stored attacks were left out" in page


def test_a_part_is_what_it_is_called(results):
    part = results.only(defenses="two", threat="Linf")

    assert isinstance(part, bench.Results)
    assert {(each.cell.defense.label, str(each.cell.threat)) for each in part} == {("two", "Linf:0.03")}
    assert len(part) == 2
    assert list(results[:3]) == list(results)[:3]
    with pytest.raises(bench.BenchError, match="three"):
        results.only(defenses="three")


def test_nothing_has_dropped_against_itself(results):
    """And a gate sees what is missing."""
    assert results.gate(results).exit_code == 4  # 24 images are too few to promise anything
    assert results.gate(results, allow_underpowered=True).exit_code == 0
    assert results.only(defenses="one").gate(results, allow_underpowered=True).exit_code == 3


def test_what_is_not_there_is_named(results):
    with pytest.raises(bench.BenchError, match=r"'won'.*did you mean .*one"):
        results.accuracy("won")
    with pytest.raises(bench.BenchError, match="pgd"):
        results.accuracy("one", "pgd")
    with pytest.raises(bench.BenchError, match=r"was run under .*: name one"):
        results.accuracy("one", "fgsm")
    with pytest.raises(bench.BenchError, match="--points 0 is out of range"):
        results.curves(0)
    with pytest.raises(bench.BenchError, match="no checks in these results"):
        results.checks()


def test_it_says_what_it_holds(results):
    assert repr(results) == "<8 results: 2 defenses, 2 attacks, 0 failed>"
    assert results.failed == []
    assert results.missing == []
    assert results.findings == []
    assert [each.row.defense.label for each in results.ranking()] == [row["defense"] for row in results.ranks()]
