"""How the minutes of a call are spread, and that all of it fits."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest
import torch

from bench.defenses.networks import by_name
from bench.defenses.training.recipe import read_recipe
from bench.types import ImageSpec
from gpu import parcel, plan
from gpu.study import FULL, TimeIsUp, until

CIFAR = ImageSpec((3, 32, 32), 10)


def test_shares_are_of_what_is_left_and_what_is_done_takes_none():
    """A second call spends all of its time on what the first one left."""
    assert sum(plan.SHARES.values()) == pytest.approx(1, abs=0.03)
    assert plan.seconds_for(["matrix"], 500.0) == {"matrix": 500.0}
    some = plan.seconds_for(["atop-resnet-18", "matrix"], 360.0)
    assert some["atop-resnet-18"] + some["matrix"] == pytest.approx(360)
    assert plan.seconds_for(["matrix"], -3.0) == {"matrix": 0.0}


def test_operations_are_those_of_the_literature():
    """ResNet-18 on CIFAR has 0.56 billion multiply-adds; a single convolution can be counted by hand."""
    layer = torch.nn.Conv2d(3, 8, 3, padding=1)
    model = by_name.build({"name": "preact-resnet-18", "width": 64}, CIFAR).eval()

    assert plan.operations(layer, CIFAR) == 2 * 32 * 32 * 8 * 3 * 9
    assert plan.operations(model, CIFAR) == pytest.approx(2 * 0.556e9, rel=0.01)


def test_an_update_counts_its_attack():
    """Five steps of PGD: a forward and a backward for the image each, then the update."""
    at = read_recipe("at-resnet-18", "cifar10", {"steps": "5"})
    standard = read_recipe("standard-resnet-18", "cifar10", {})

    assert plan.per_image(at, 1, 1) == 13
    assert plan.per_image(standard, 1, 1) == 3


@pytest.mark.parametrize("dataset", plan.SPECS)
def test_nine_minutes_hold_all_trainings_and_a_matrix(dataset):
    """At the stated speed of an H100: twenty epochs of adversarial training and more; the files keep their bounds."""
    found, rest = plan.planned(dataset, 9, plan.CARDS["h100"])
    epochs = {each.name: each.epochs for each in found}

    assert epochs["at-resnet-18"] >= 20
    assert all(each.epochs * plan.IMAGES / each.images_per_second <= each.seconds for each in found)
    assert sum(each.seconds for each in found) + plan.seconds_for(list(plan.SHARES), 528)["matrix"] <= 9 * 60
    assert rest >= 60
    weights = sum(plan.bytes_of(name, dataset) for name in plan.SHARES if name != "matrix")
    assert -(-weights // parcel.PART) + 3 <= parcel.MOST_FILES  # beside them verdicts and a log


def test_the_page_prints_the_plan_of_today():
    """What docs/gpu.md shows is what `python -m gpu plan cifar10` says."""
    page = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")

    assert textwrap.indent(plan.show("cifar10", 9, "h100"), "    ") in page


def test_time_that_is_up_leaves_the_work_and_passes_for_no_failed_cell():
    """Whatever catches errors of a defense does not catch the end of the call."""
    began = time.perf_counter()
    with until(0.2):
        try:
            time.sleep(5)
        except Exception:  # noqa: BLE001  (what a harness does)
            pytest.fail("taken for an error")

    assert time.perf_counter() - began < 2
    assert not issubclass(TimeIsUp, Exception)
    time.sleep(0.05)  # no alarm is left behind


def test_every_line_of_the_matrix_is_a_command_that_is_understood():
    """Attacks, threats and defenses by their names, on a thousand images."""
    from bench.catalogue import ATTACKS, DEFENSES
    from bench.catalogue.request import parse_list
    from bench.threats import ThreatModel

    assert FULL.n == 1000
    assert FULL.n % FULL.batch == 0
    for defenses, attacks, threats in FULL.matrix:
        for request in parse_list(defenses, "defense"):
            assert DEFENSES.get(request.name)
            assert request.parameters == {"network": "resnet-18"}
        families = {ThreatModel.parse(text).family for text in threats.split(",")}
        for request in parse_list(attacks, "attack"):
            assert families & set(ATTACKS.get(request.name).families)
