"""How the minutes of a call are spread, and that all of it fits."""

from __future__ import annotations

import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.catalogue.request import parse_list
from bench.defenses.networks import by_name
from bench.defenses.training.recipe import read_recipe
from bench.types import ImageSpec
from gpu import parcel, plan
from gpu.calls import CALLS, MATRIX, Line
from gpu.study import TimeIsUp, until

CIFAR = ImageSpec((3, 32, 32), 10)


@pytest.mark.parametrize("name", CALLS)
def test_shares_are_of_what_is_left_and_what_is_done_takes_none(name):
    """A second call spends all of its time on what the first one left."""
    shares = CALLS[name].shares
    assert sum(shares.values()) == pytest.approx(1)
    assert plan.seconds_for(shares, [MATRIX], 500.0) == {MATRIX: 500.0}
    last = CALLS[name].trainings[-1]
    some = plan.seconds_for(shares, [last, MATRIX], 360.0)
    assert some[last] + some[MATRIX] == pytest.approx(360)
    assert some[last] / some[MATRIX] == pytest.approx(shares[last] / shares[MATRIX])
    assert plan.seconds_for(shares, [MATRIX], -3.0) == {MATRIX: 0.0}


def test_operations_are_those_of_the_literature():
    """ResNet-18 on CIFAR has 0.56 billion multiply-adds; a single convolution can be counted by hand."""
    layer = torch.nn.Conv2d(3, 8, 3, padding=1)
    model = by_name.build({"name": "preact-resnet-18", "width": 64}, CIFAR).eval()
    x = torch.zeros(1, 3, 32, 32)

    assert plan.operations(layer, x) == 2 * 32 * 32 * 8 * 3 * 9
    assert plan.operations(model, x) == pytest.approx(2 * 0.556e9, rel=0.01)


@pytest.mark.parametrize(
    ("inputs", "outputs", "times"), [(64, 64, 1), (32, 32, 2), (256, 64, 1), (4, 4, 16), (4, 64, 8.5)]
)
def test_narrow_layers_count_as_often_as_they_are_slower(inputs, outputs, times):
    """A layer of half the channels has a quarter of the operations, and moves half of the numbers."""
    layer, x = torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.zeros(1, inputs, 8, 8)

    assert plan.operations(layer, x, slowed=True) == pytest.approx(times * plan.operations(layer, x))


def test_an_update_counts_its_attack():
    """Five steps of PGD: a forward and a backward for the image each, then the update."""
    at = read_recipe("at-resnet-18", "cifar10", {"steps": "5"})
    standard = read_recipe("standard-resnet-18", "cifar10", {})
    ap, diffusion = (read_recipe(name, "cifar10", {}) for name in ("ap-resnet-18", "diffpure-resnet-18"))
    atop = read_recipe("atop-resnet-18", "cifar10", {"steps": "2"})
    passes = plan.Passes(1, 10, 100)

    assert plan.per_image(at, passes) == 13
    assert plan.per_image(standard, passes) == 3
    assert plan.per_image(ap, passes) == 30
    assert plan.per_image(diffusion, passes) == 300
    assert plan.per_image(atop, passes) == 2 + 30 + 2 * 2 * 11


@pytest.mark.parametrize("name", CALLS)
def test_nine_minutes_hold_all_trainings_and_a_matrix(name):
    """At the stated speed of an H100: twenty epochs of adversarial training and more; the files keep their bounds."""
    call = CALLS[name]
    if call.requires:
        pytest.importorskip(call.requires[0])
    found, rest = plan.planned(call, 9, plan.CARDS["h100"])
    epochs = {each.name: each.epochs for each in found}

    assert list(epochs) == list(call.trainings)
    assert epochs.get("at-resnet-18", 20) >= 20
    assert epochs.get("diffpure-resnet-18", 50) >= 50
    assert all(each.epochs * call.images / each.images_per_second <= each.seconds for each in found)
    assert sum(each.seconds for each in found) + plan.seconds_for(call.shares, list(call.shares), 528)[MATRIX] <= 9 * 60
    assert rest >= 60
    weights = sum(plan.bytes_of(name, call) for name in call.trainings)
    assert -(-weights // parcel.PART) + 3 <= parcel.MOST_FILES  # beside them verdicts and a log


@pytest.mark.parametrize(
    ("attack", "kind", "passes"),
    [
        ("pgd-20", "deterministic", (21, 21)),
        ("pgd-eot-20", "stochastic", (420, 420)),
        ("apgd-ce", "stochastic", (101 * 20, 101 * 20)),
        ("blind", "stochastic", (41, 41)),  # by the classifier alone, in one draw
        # The reserve runs on a tenth: 201 forwards in 20 draws and 601 in 10, 201 backwards in 20.
        ("audit", "stochastic", (430 + 0.1 * (201 * 20 + 601 * 10), 340 + 0.1 * 201 * 20)),
        ("malt", "stochastic", (0, 0)),  # is not for these
        ("autoattack", "deterministic", (101 + 910 + 1804 + 5001, 101 + 909 + 900)),
    ],
)
def test_passes_of_a_matrix_are_those_of_its_attacks(attack, kind, passes):
    """As `bench list attacks` says, times the draws that an attack averages."""
    forwards, backwards, alone = plan.passes_of_attack(parse_list(attack, "attack")[0], kind, "Linf", "cifar10")

    assert (forwards, backwards) == passes
    assert alone == (attack == "blind")


def test_a_gradient_of_a_diffusion_model_counts_its_steps_and_their_recomputation():
    """Ten steps forward; backward each once more and back."""
    line = Line("diffpure[network=resnet-18]", "pgd-eot-20", "Linf:8/255", 3)

    assert plan.most_operations(line, plan.Passes(1, 0, 100), "cifar10") == 3 * 420 * ((1 + 1000) + (1 + 2000))
    assert plan.most_operations(replace(line, threats="L2:1,stadv:1"), plan.Passes(1, 0, 100), "cifar10") == (
        3 * 420 * ((1 + 1000) + (1 + 2000))  # no attack of the line is for the second threat
    )


@pytest.mark.parametrize("name", ["cifar10", "imagenette", "diffusion"])
def test_the_page_prints_the_plan_of_today(name):
    """What docs/gpu.md shows is what `python -m gpu plan` says."""
    if CALLS[name].requires:
        pytest.importorskip(CALLS[name].requires[0])
    page = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")

    assert textwrap.indent(plan.show(CALLS[name], 9, "h100"), "    ") in page


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
