"""A training that may take so long plans its epochs by what an update takes, and stops when it is late."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import bench.defenses
from bench.datasets.digits import digits
from bench.defenses import weights_file as files
from bench.defenses.networks import by_name
from bench.defenses.training.budget import SHARE, TIMED, WARM, Budget, seconds_per_update
from bench.defenses.training.run import train
from bench.errors import BenchError

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}
PER_EPOCH = 3


class Clock:
    """An update takes so many seconds while updates are timed, and so many afterwards."""

    def __init__(self, planned, after):
        self.planned, self.after, self.now, self.looks = planned, after, 0.0, 0

    def __call__(self):
        self.looks += 1
        # The looks: when the budget begins, around the updates that are timed, at what is left; then one an update.
        if self.looks == 3:
            self.now += TIMED * self.planned
        elif self.looks > 4:
            self.now += self.after
        return self.now


@pytest.fixture(scope="module")
def learned():
    return digits("train").first(192)


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(32)


def tiny(name, out, learned, validation, *, budget=None, every=500, **changed):
    overrides = {"epochs": "40", "batch_size": "64", "validation_threat": ""} | changed
    path = train(
        name, learned, validation, out=out, checkpoints=CHECKPOINTS, overrides=overrides, budget=budget, every=every
    )
    return path, json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("seconds", "update", "epochs"), [(100, 0.1, 90), (100, 1.0, 9), (1, 1.0, 1), (-5, 1.0, 1), (1e6, 1.0, 99)]
)
def test_epochs_are_those_that_fit_at_least_one_and_at_most_the_recipes(seconds, update, epochs):
    """Ten updates an epoch; a tenth of the time is kept for looking and judging."""
    assert SHARE == 0.9
    assert Budget(seconds, lambda: 0.0, 0.0).epochs(update, 10, 99) == epochs


def test_an_update_is_timed_after_the_first_ones():
    """What chooses kernels and claims memory does not count."""
    now, made = [0.0], []

    def update(number):
        made.append(number)
        now[0] += 100 if number < WARM else 2

    assert seconds_per_update(update, torch.device("cpu"), lambda: now[0]) == 2
    assert made == list(range(WARM + TIMED))


@pytest.mark.parametrize("name", ["standard", "ap", "atop"])
def test_a_planned_training_is_the_one_its_card_tells_to_repeat(name, tmp_path, learned, validation):
    """The updates that are timed leave no trace: the same bytes as of a training with so many epochs."""
    budget = Budget(10.0, Clock(0.1, 0.1))
    planned, card = tiny(name, tmp_path / "planned", learned, validation, budget=budget, ema="0.5")

    epochs = card["recipe"]["epochs"]
    again, _ = tiny(name, tmp_path / "again", learned, validation, epochs=str(epochs), ema="0.5")

    assert epochs == int(0.9 * 9.5 / (0.1 * PER_EPOCH))
    assert card["command"].endswith(f"--set epochs={epochs}")
    assert "unfinished" not in card
    assert planned.read_bytes() == again.read_bytes()
    assert not list(planned.parent.glob("*.unfinished"))


@pytest.mark.parametrize("name", ["at", "atop"])
def test_a_late_training_writes_what_it_has_and_goes_on_to_the_same_bytes(name, tmp_path, learned, validation):
    """Each sitting is cut by its clock; the last one ends with the weights of a training that was never cut."""

    cut, card = tiny(name, tmp_path / "cut", learned, validation, budget=Budget(3.0, Clock(0.1, 0.5)))
    done = [card["unfinished"]["done"]]
    assert by_name.restore(cut.stem, {cut.stem: cut}, validation.spec)
    while "unfinished" in card:
        cut, card = tiny(name, tmp_path / "cut", learned, validation, budget=Budget(2.0, Clock(0.1, 0.5)))
        done.append(card.get("unfinished", {}).get("done", PER_EPOCH * card["recipe"]["epochs"]))
    whole, _ = tiny(name, tmp_path / "whole", learned, validation, epochs=str(card["recipe"]["epochs"]))

    assert len(done) > 2
    assert done == sorted(set(done))
    assert card["recipe"]["epochs"] == int(0.9 * 2.5 / (0.1 * PER_EPOCH))
    assert cut.read_bytes() == whole.read_bytes()
    assert not list(cut.parent.glob("*.unfinished"))


def test_half_precision_is_half_the_bytes_and_the_card_counts_what_it_changed(tmp_path, learned, validation):
    """The card judges the rounded network, which is what is read again, number by number."""
    whole, card = tiny("at", tmp_path / "whole", learned, validation, epochs="2")
    half, told = tiny(
        "at", tmp_path / "half", learned, validation, epochs="2", half="true", validation_threat="Linf:0.2"
    )

    network, _ = by_name.restore("at", {"at": half}, validation.spec)
    wanted = {key: value.half().float() for key, value in load_file(whole).items() if value.is_floating_point()}
    stored = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}

    assert "half" not in card
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert stored.keys() == wanted.keys()
    assert all(torch.equal(stored[key], wanted[key]) for key in wanted)
    assert told["half"] == {"n": 32, "changed": 0, "attacked_n": 32, "attacked_changed": 0}


def test_what_half_precision_cannot_hold_is_refused():
    """65,504 is the largest number it has."""
    with pytest.raises(BenchError, match="'weight' holds weights beyond half precision"):
        files.in_half({"weight": torch.tensor([1e6])})


def test_sgd_is_another_training_with_its_own_steps(tmp_path, learned, validation):
    """The optimizer of the recipe is the one that is used."""
    adam, _ = tiny("standard", tmp_path / "adamw", learned, validation, epochs="1")
    sgd, card = tiny("standard", tmp_path / "sgd", learned, validation, epochs="1", optimizer="sgd")

    assert card["recipe"]["optimizer"] == "sgd"
    assert adam.read_bytes() != sgd.read_bytes()
    with pytest.raises(BenchError, match="unknown optimizer 'sgdd': did you mean sgd"):
        tiny("standard", tmp_path, learned, validation, optimizer="sgdd")
