"""`bench.api.train`: arguments are checked before images are read, and what was trained can be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench import api
from bench.api import training
from bench.catalogue.weights import card


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "att"}, "unknown training 'att': did you mean at"),
        ({"name": "at", "minutes": 0}, "--minutes 0 is out of range"),
        ({"name": "at", "minutes": float("inf")}, "--minutes inf is out of range"),
        ({"name": "at", "device": "abacus"}, "abacus"),
        ({"name": "at", "recipe": {"epochz": "1"}}, "did you mean epochs"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(given, said, tmp_path):
    with pytest.raises(bench.BenchError, match=said):
        api.train(**given, out=tmp_path / "weights")

    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_training_writes_weights_that_can_be_run(tmp_path):
    """A recipe of one epoch; its card has the command that makes it again."""
    stages = []
    path = api.train(
        "standard", recipe={"epochs": "1"}, seed=3, out=tmp_path, watcher=lambda progress: stages.append(progress.step)
    )

    assert path == tmp_path / "digits" / "standard.safetensors"
    assert stages
    assert stages == sorted(stages)
    assert api.unfinished(path) is None
    assert "bench train standard --dataset digits --set epochs=1 --seed 3" in str(card(path))
    found = bench.plan(defenses="standard", attacks="fgsm", n=16, weights=tmp_path, results=tmp_path / "kept")
    assert found.count("run") > 0


@pytest.mark.parametrize(
    ("stem", "command"),
    [
        ("at", "bench run --dataset digits --defenses at --weights out"),
        ("atop-clean-rt2", "bench run --dataset digits --defenses 'atop[ft=clean,rt=2]' --weights out"),
        ("at-resnet-18", "bench run --dataset digits --defenses 'at[network=resnet-18]' --weights out"),
    ],
)
def test_the_command_that_measures_it_has_its_parameters(stem, command):
    assert api.run_of(Path(f"out/digits/{stem}.safetensors"), "digits", "out") == command


def test_every_command_that_is_noted_can_be_typed():
    assert training._command("at", "imagefolder:/a b", {"lr": "0.1"}, 0) == (
        "bench train at --dataset 'imagefolder:/a b' --set lr=0.1"
    )
