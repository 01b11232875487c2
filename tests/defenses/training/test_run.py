"""Trainings are reproducible, touch only what they train, and do what they are for."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.datasets.digits import digits
from bench.defenses import atop, diffpure
from bench.defenses.training.run import train
from bench.errors import BenchError
from tests.defenses.training.small import CHECKPOINTS, LINF

TINY = {"epochs": "2", "batch_size": "64", "validation_threat": ""}


@pytest.fixture(scope="module")
def learned():
    return digits("train").first(192)


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(64)


def tiny(name, out, learned, validation, *, seed=0, on_progress=None, **changed):
    overrides = TINY | changed
    return train(
        name,
        learned,
        validation,
        out=out,
        checkpoints=CHECKPOINTS,
        seed=seed,
        overrides=overrides,
        on_progress=on_progress,
        command=f"bench train {name}",
    )


@pytest.mark.parametrize("name", ["standard", "at", "ap", "atop"])
def test_one_seed_gives_the_same_bytes_and_another_one_does_not(name, tmp_path, learned, validation):
    """Two trainings are one file, whatever the caller drew before, watched or not."""
    watched = []

    first = tiny(name, tmp_path / "a", learned, validation)
    torch.rand(7)
    again = tiny(name, tmp_path / "b", learned, validation, on_progress=watched.append)
    other = tiny(name, tmp_path / "c", learned, validation, seed=1)

    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert [(seen.stage, seen.step, seen.steps) for seen in watched] == [(name, 3, 6), (name, 6, 6)]
    assert 0 <= watched[0].accuracy <= 1


def test_training_leaves_the_global_generators_alone(tmp_path, learned, validation):
    """A program that trains in its middle draws the same numbers afterwards."""

    def draws():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    expected = draws()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002

    tiny("atop", tmp_path, learned, validation, validation_threat="Linf:0.2")

    assert draws() == expected


def test_a_trained_checkpoint_loads_as_the_defense_it_is(tmp_path, learned, validation):
    """`bench train atop --set rt=2` writes `atop-rt2`, which the loader takes, with a full card."""
    path = tiny("atop", tmp_path, learned, validation, rt="2", validation_threat="Linf:0.2")

    defense = atop.load(checkpoints={**CHECKPOINTS, path.stem: path}, spec=validation.spec, rt="2")

    card = json.loads(path.with_suffix(".json").read_text())
    assert path.name == "atop-rt2.safetensors"
    assert defense.trained_on == (LINF,)
    assert defense.card.facts == card
    assert card["recipe"]["rt"] == "2"
    assert card["recipe"]["epochs"] == 2
    assert card["data"] == {"dataset": "digits", "split": "train", "digest": learned.digest, "n": 192}
    assert card["standard_accuracy"]["draws"] == card["validation"]["draws"] == 10
    assert card["validation"]["robust_accuracy"] <= card["validation"]["standard_accuracy"]
    assert set(card["parents"]) == {"standard", "ap"}


@pytest.mark.parametrize("name", ["ap", "atop-paper"])
def test_a_discriminator_learns_along_where_its_loss_weighs_something(name, tmp_path, learned, validation):
    """The hinge loss is in the log, and the purifier ends elsewhere than without it."""
    seen = []

    plain = tiny(name, tmp_path / "plain", learned, validation)
    fooling = tiny(name, tmp_path / "fooling", learned, validation, gan_weight="0.1", on_progress=seen.append)

    assert all(0 < progress.losses["hinge"] < 3 for progress in seen)
    assert plain.read_bytes() != fooling.read_bytes()


@pytest.mark.parametrize("architecture", ["autoencoder", "gated-inpainter"])
def test_every_purifier_can_be_trained_and_fine_tuned(architecture, tmp_path, learned, validation):
    """The weights of `ap` name their network, and AToP goes on from them."""
    first = tiny("ap", tmp_path, learned, validation, architecture=architecture, width="16", epochs="1")
    checkpoints = {**CHECKPOINTS, "ap": first}

    second = train("atop", learned, validation, out=tmp_path, checkpoints=checkpoints, overrides=TINY | {"epochs": "1"})

    card = json.loads(second.with_suffix(".json").read_text())
    assert card["architecture"] == {"name": architecture, "width": 16}
    assert atop.load(checkpoints={**checkpoints, second.stem: second}, spec=validation.spec).stochastic


def test_a_diffusion_model_is_trained_and_loads_as_a_defense(tmp_path, learned, validation):
    """`bench train diffpure` writes what the loader takes."""
    pytest.importorskip("diffusers")

    path = tiny("diffpure", tmp_path, learned, validation, width="8")

    defense = diffpure.load(checkpoints={**CHECKPOINTS, "diffpure": path}, spec=validation.spec, steps="2")
    assert defense.stochastic
    assert defense.model(torch.tensor(validation.x[:4])).shape == (4, 10)


def test_a_diffusion_model_is_fine_tuned_from_the_trained_one(tmp_path, learned, validation):
    """`bench train atop-diffusion` goes on from `diffpure`, and its card tells the purification and the threat."""
    pytest.importorskip("diffusers")
    before = tiny("diffpure", tmp_path, learned, validation, width="8", epochs="1")
    few = {"epochs": "1", "denoising_steps": "2", "steps": "1", "t": "0.2", "half": "false"}

    paths = [
        train(
            "atop-diffusion",
            learned,
            validation,
            out=tmp_path / name,
            checkpoints={**CHECKPOINTS, "diffpure": before},
            overrides=TINY | few | {"checkpointed": checkpointed},
        )
        for name, checkpointed in (("again", "true"), ("kept", "false"))
    ]

    card = json.loads(paths[0].with_suffix(".json").read_text())
    assert paths[0].name == "atop-diffusion.safetensors"
    assert set(card["parents"]) == {"standard", "diffpure"}
    assert (card["recipe"]["t"], card["recipe"]["denoising_steps"]) == (0.2, 2)
    assert card["trained_on"] == ["Linf:0.2"]
    checkpoints = {**CHECKPOINTS, "atop-diffusion": paths[0]}
    defense = diffpure.load(checkpoints=checkpoints, spec=validation.spec, ft="on", t="0.2", steps="2")
    assert defense.trained_on == (LINF,)
    assert "standard_accuracy" in defense.card.facts
    # What the backward passes compute again is what they would have kept.
    one, other = (load_file(path) for path in paths)
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)
    first = load_file(before)
    assert any(not torch.equal(one[key], first[key].float()) for key in one)


@pytest.mark.parametrize("kind", ["autoencoder", "gan"])
def test_a_kind_of_purifier_is_trained_under_its_own_name(kind, tmp_path, learned, validation):
    """`ap-gan` and then `atop-gan`, which starts from it and from the classifier that has no suffix."""
    first = tiny(f"ap-{kind}", tmp_path, learned, validation, epochs="1")
    checkpoints = {**CHECKPOINTS, first.stem: first}
    changed = TINY | {"epochs": "1", "steps": "1"}

    second = train(f"atop-{kind}", learned, validation, out=tmp_path, checkpoints=checkpoints, overrides=changed)

    card = json.loads(second.with_suffix(".json").read_text())
    assert (first.name, second.name) == (f"ap-{kind}.safetensors", f"atop-{kind}-rt1.safetensors")
    assert set(card["parents"]) == {"standard", f"ap-{kind}"}
    found = atop.load(checkpoints={**checkpoints, second.stem: second}, spec=validation.spec, purifier=kind)
    assert found.trained_on == (LINF,)
    assert found.card.facts["architecture"]["name"] == {"autoencoder": "autoencoder", "gan": "gated-inpainter"}[kind]


def test_fine_tuning_needs_the_checkpoints_it_starts_from(tmp_path, learned, validation):
    """Without a pre-trained purifier the missing one is named."""
    checkpoints = {"standard": CHECKPOINTS["standard"]}

    with pytest.raises(BenchError, match="no checkpoint 'ap' was given"):
        train("atop", learned, validation, out=tmp_path, checkpoints=checkpoints, overrides=TINY)


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("at", {"architecture": "small-cn"}, "unknown classifier architecture 'small-cn': did you mean small-cnn"),
        ("ap", {"architecture": "resnet-8"}, "unknown purifier architecture 'resnet-8'"),
        ("atop", {"rt": "9"}, "unknown random transform rt '9'"),
    ],
)
def test_an_override_that_names_nothing_is_one_line(name, changed, said, tmp_path, learned, validation):
    """Names in a recipe are checked where the networks and transforms are known."""
    with pytest.raises(BenchError, match=said):
        tiny(name, tmp_path, learned, validation, **changed)


def test_a_training_that_diverges_writes_nothing(tmp_path, learned, validation):
    """A loss that is not finite stops the training with the remedy, before any weights are written."""
    with pytest.raises(BenchError, match=r"the loss is not finite after .* lower the learning_rate"):
        tiny("standard", tmp_path, learned, validation, learning_rate="1e30", epochs="3")

    assert list(tmp_path.iterdir()) == []
