"""The calls as data: every name in them is known, and the threat models are those a dataset is studied under."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from bench.catalogue import ATTACKS, DEFENSES
from bench.catalogue.request import parse_list
from bench.catalogue.training import starts_from
from bench.datasets.load import shape_of
from bench.datasets.threats import threat
from bench.threats import ThreatModel
from gpu.calls import CALLS, checkpoint

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "defenses" / "training" / "recipes"
SIZES = [(name, size) for name in CALLS for size in ("full", "tiny")]


def size_of(name, size):
    return getattr(CALLS[name], size)


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_every_line_of_a_matrix_is_a_command_that_is_understood(name, size):
    """Attacks, threats and defenses by their names; a shard is no part of a hundred others."""
    for line in size_of(name, size).matrix:
        assert line.n % size_of(name, size).batch == 0
        for request in parse_list(line.defenses, "defense"):
            entry = DEFENSES.get(request.name)
            assert request.parameters["network"] == "resnet-18"
            weights = set(entry.weight_names({**entry.config, **request.parameters}))
            assert weights <= {checkpoint(training) for training in CALLS[name].trainings}
        threats = {ThreatModel.parse(text).family for text in line.threats.split(",")}
        attacks = [set(ATTACKS.get(request.name).families) for request in parse_list(line.attacks, "attack")]
        assert all(families & threats for families in attacks)
        assert all(any(family in families for families in attacks) for family in threats)


@pytest.mark.parametrize("name", CALLS)
def test_threat_models_are_those_of_the_dataset(name):
    """Those of `bench run` without `--threat`; beside Linf 4/255 the one that was trained on."""
    call = CALLS[name]
    for line in call.full.matrix:
        for asked in map(ThreatModel.parse, line.threats.split(",")):
            usual = threat(asked.family, call.dataset)
            assert asked == usual or str(asked) == "Linf:8/255"


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenette"])
def test_a_matrix_has_a_headline_and_at_least_six_unseen_families(name):
    lines = CALLS[name].full.matrix
    families = [{ThreatModel.parse(text).family for text in line.threats.split(",")} for line in lines]

    assert families[0] == {"Linf"}
    assert set.union(*families) >= {"L2", "L1", "stadv", "recolor", "lpips", "jpeg-linf", "fog", "snow", "elastic"}
    assert [line.n for line in lines] == sorted((line.n for line in lines), reverse=True)
    if name != "imagenette":
        assert lines[0].n == 1000


@pytest.mark.parametrize("name", CALLS)
def test_trainings_come_after_those_they_start_from_and_have_recipes_of_their_size(name):
    call, done = CALLS[name], set()
    for training in call.trainings:
        assert set(starts_from(training)) <= done
        done.add(training)
        # The default recipes are for images of CIFAR's size.
        folder = "default" if call.spec.shape == (3, 32, 32) else call.folder
        assert (RECIPES / folder / f"{training}.toml").is_file()
    assert shape_of(call.dataset) == call.spec.shape
    assert len({each.results for each in CALLS.values()}) == len(CALLS)


def test_every_call_has_a_target_of_make_and_a_word_of_the_command_line():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    known = importlib.import_module("gpu.__main__")._CALLS

    for name in CALLS:
        assert f"gpu-{name}" in makefile.partition("$(GPU)")[0].splitlines()[-2]
        assert f"`make gpu-{name}`" in page
        assert known[name] == "gpu.study"


def test_a_checkpoint_of_fine_tuning_names_its_transform():
    assert checkpoint("atop-resnet-18") == "atop-resnet-18-rt1"
    assert checkpoint("at-resnet-18") == "at-resnet-18"
    assert checkpoint("diffpure-resnet-18") == "diffpure-resnet-18"
