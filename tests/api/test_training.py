"""`bench.api.train`: arguments are checked before images are read, and what was trained can be measured."""

from __future__ import annotations

import json
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
        ({"name": "at", "note": "x" * 301}, "--note has 301 characters: a card takes a sentence of at most 300"),
        ({"name": "at", "note": "two\nlines"}, r"--note 'two\\nlines' is not one line of plain text"),
        ({"name": "at", "note": "\x1b[2Jgone"}, r"--note '\\x1b\[2Jgone' is not one line of plain text"),
        ({"name": "at", "note": "\u202etxt.exe"}, "is not one line of plain text"),
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
        ("ap-gan", "bench run --dataset digits --defenses 'ap[purifier=gan]' --weights out"),
        (
            "atop-autoencoder-rt2",
            "bench run --dataset digits --defenses 'atop[purifier=autoencoder,rt=2]' --weights out",
        ),
    ],
)
def test_the_command_that_measures_it_has_its_parameters(stem, command):
    assert api.run_of(Path(f"out/digits/{stem}.safetensors"), "digits", "out") == command


@pytest.mark.parametrize(
    ("stem", "recipe", "defense"),
    [
        ("diffpure", {}, "diffpure"),
        ("diffpure", {"t": 0.1, "denoising_steps": 10}, "diffpure"),
        ("atop-diffusion", {"t": 0.2, "denoising_steps": 5}, "'diffpure[ft=on,t=0.2,steps=5]'"),
        ("atop-diffusion-resnet-18", {"t": 0.1}, "'diffpure[ft=on,network=resnet-18]'"),
    ],
)
def test_a_diffusion_model_is_measured_in_the_purification_of_its_card(stem, recipe, defense, tmp_path):
    path = tmp_path / f"{stem}.safetensors"
    path.with_suffix(".json").write_text(json.dumps({"recipe": recipe}))

    assert api.run_of(path, "digits", Path("out")) == (f"bench run --dataset digits --defenses {defense} --weights out")


def test_every_command_that_is_noted_can_be_typed():
    assert training._command("at", "imagefolder:/a b", {"lr": "0.1"}, 0) == (
        "bench train at --dataset 'imagefolder:/a b' --set lr=0.1"
    )


NOTE = "training images: every value rounded to an even number <img src=x onerror=alert(1)>"


def test_a_note_is_in_the_card_and_changes_nothing_else(tmp_path):
    """The same weights with it, without it, and under another one after the training was resumed."""
    recipe = {"epochs": "1"}
    plain = api.train("standard", recipe=recipe, out=tmp_path / "plain")
    noted = api.train("standard", recipe=recipe, out=tmp_path / "noted", note=f" {NOTE} ")
    with pytest.raises(KeyboardInterrupt):
        api.train(
            "standard",
            recipe=recipe,
            out=tmp_path / "resumed",
            note="another sentence",
            checkpoint_every=1,
            watcher=_interrupt,
        )
    (unfinished,) = (tmp_path / "resumed").rglob("*.unfinished")
    resumed = api.train("standard", recipe=recipe, out=tmp_path / "resumed", note=NOTE)

    assert not unfinished.exists()
    assert plain.read_bytes() == noted.read_bytes() == resumed.read_bytes()
    assert card(noted)["note"] == card(resumed)["note"] == NOTE
    assert "note" not in card(plain)
    assert card(noted)["command"] == card(plain)["command"]


def _interrupt(_progress):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"name": "at", "dataset": "cifar100"}, True),
        ({"name": "at", "dataset": "cifar100", "recipe": {"amp": "false"}}, False),
        ({"name": "standard", "dataset": "imagenette-160[resize=64]"}, True),
        ({"name": "at", "dataset": "digits"}, False),
        ({"name": "at", "dataset": "digits", "recipe": {"amp": True}}, True),
    ],
)
def test_emulated_arithmetic_is_said_once_where_a_recipe_asks_for_it(given, warned, monkeypatch):
    """Nothing on a processor that has it, and nothing about a recipe in float32."""
    monkeypatch.setattr(training, "emulates_bfloat16", lambda: True)
    told = api.slow_arithmetic(**given, device="cpu")
    monkeypatch.setattr(training, "emulates_bfloat16", lambda: False)

    assert (told is not None) == warned
    assert not warned or "--set amp=false" in told
    assert api.slow_arithmetic(**given, device="cpu") is None
