"""The shipped defenses on digits load, classify and are frozen; every file of weights can be trained again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch

import bench.defenses
from bench.catalogue import DEFENSES
from bench.catalogue.registry import load
from bench.datasets.digits import digits
from bench.datasets.load import name_in_paths
from bench.defenses.training.naming import starts_from
from bench.defenses.training.recipe import FineTuningRecipe, read_recipe
from bench.defenses.weights_file import sha256
from bench.threats import ThreatModel

FOLDER = Path(bench.defenses.__file__).parent / "weights" / "digits"
CHECKPOINTS = {path.stem: path for path in FOLDER.glob("*.safetensors")}
SEEN = (ThreatModel.parse("Linf:0.2"),)
SHIPPED = [
    ("standard", {}, ()),
    ("at", {}, SEEN),
    ("ap", {"rt": "none"}, ()),
    ("ap", {"rt": "1"}, ()),
    ("atop", {"rt": "none"}, SEEN),
    ("atop", {"rt": "1"}, SEEN),
    ("atop", {"rt": "2"}, SEEN),
    ("atop", {"rt": "3"}, SEEN),
    ("at-l2", {}, (ThreatModel.parse("L2:1"),)),
    ("at-stadv", {}, (ThreatModel.parse("stadv:0.4"),)),
    ("fgsm-rs", {}, SEEN),
    ("trades", {}, SEEN),
    ("atop", {"rt": "1", "ft": "off"}, ()),
    ("atop", {"rt": "1", "ft": "clean"}, ()),
    ("atop", {"rt": "2", "ft": "paper"}, SEEN),
    ("atop", {"rt": "1", "classifier": "at"}, SEEN),
    ("ap", {"rt": "none", "classifier": "at-l2"}, (ThreatModel.parse("L2:1"),)),
    ("ap", {"rt": "none", "purifier": "autoencoder"}, ()),
    ("ap", {"rt": "none", "purifier": "gan"}, ()),
    ("ap", {"rt": "1", "purifier": "autoencoder"}, ()),
    ("ap", {"rt": "1", "purifier": "gan"}, ()),
    ("atop", {"rt": "1", "purifier": "autoencoder"}, SEEN),
    ("atop", {"rt": "2", "purifier": "autoencoder"}, SEEN),
    ("atop", {"rt": "1", "purifier": "gan"}, SEEN),
    ("atop", {"rt": "2", "purifier": "gan"}, SEEN),
    ("diffpure", {"t": "0.1"}, ()),
    ("diffpure", {"t": "0.1", "ft": "on"}, SEEN),
    ("diffpure", {"t": "0.1", "ft": "on", "classifier": "at-l2"}, (ThreatModel.parse("L2:1"), *SEEN)),
]


@pytest.fixture(scope="module")
def validation():
    return digits("validation").first(128)


def build(name, config, validation):
    if name == "diffpure":
        pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'atop-bench[diffusion]'")
    return load(DEFENSES.get(name).target)(checkpoints=CHECKPOINTS, spec=validation.spec, **config)


@pytest.fixture(params=SHIPPED, ids=lambda case: "-".join([case[0], *case[1].values()]))
def case(request, validation):
    name, config, trained_on = request.param
    return name, config, trained_on, build(name, config, validation)


def test_shipped_weights_classify_digits(case, validation):
    """Each defense is right on more than 80 % of the first 128 validation digits, unattacked."""
    *_, defense = case
    torch.manual_seed(0)

    logits = defense.model(torch.tensor(validation.x))

    assert logits.shape == (128, 10)
    assert (logits.argmax(1) == torch.tensor(validation.y)).float().mean() > 0.8


def test_a_defense_is_frozen_and_in_eval_mode(case):
    """No attack can change it: no parameter wants a gradient and no layer is in training mode."""
    *_, defense = case

    assert not any(parameter.requires_grad for parameter in defense.model.parameters())
    assert not any(module.training for module in defense.model.modules())


def test_a_defense_is_differentiable_to_its_input(case, validation):
    """Frozen weights must not stop the gradient an attack needs."""
    *_, defense = case
    x = torch.tensor(validation.x[:16]).requires_grad_()

    defense.model(x).logsumexp(1).sum().backward()

    assert (x.grad.flatten(1).abs().amax(1) > 0).all()


def test_the_record_says_what_the_catalogue_says(case):
    """Stochastic exactly when the catalogue says so, trained on what the card says."""
    name, config, trained_on, defense = case

    assert defense.stochastic == DEFENSES.get(name).is_stochastic(config)
    assert defense.trained_on == trained_on
    assert (defense.base is not None) == (name in ("ap", "atop", "diffpure"))


def test_two_forwards_differ_exactly_when_the_defense_is_stochastic(case, validation):
    """The flag is the truth about the module."""
    *_, defense = case
    x = torch.tensor(validation.x)

    first, second = defense.model(x), defense.model(x)

    assert torch.equal(first, second) != defense.stochastic


@pytest.mark.parametrize(
    ("name", "config", "declared"),
    [
        ("ap", {}, True),
        ("ap", {"rt": "1"}, False),
        ("ap", {"classifier": "at"}, False),
        ("atop", {}, True),
        ("atop", {"rt": "2"}, True),
        ("atop", {"rt": "1", "ft": "off"}, False),
        ("atop", {"rt": "1", "ft": "clean"}, True),
        ("atop", {"rt": "1", "classifier": "at"}, False),
        ("standard", {}, True),
        ("ap", {"purifier": "gan"}, True),
        ("ap", {"purifier": "gan", "rt": "1"}, False),
        ("atop", {"purifier": "autoencoder"}, True),
        ("diffpure", {}, True),
        ("diffpure", {"ft": "on"}, True),
        ("diffpure", {"ft": "on", "steps": "5"}, False),
    ],
    ids=str,
)
def test_an_accuracy_is_declared_only_for_what_it_was_measured_on(name, config, declared, validation):
    """A purifier's card tells it under one transform and before one classifier; S15 holds it against the defense."""
    card = build(name, config, validation).card

    assert ("standard_accuracy" in card.facts) == declared
    assert card.facts["data"]["dataset"] == "digits"


def test_cards_belong_to_the_data_of_the_package(validation):
    """The digest in a card is that of the training split shipped here, and n is its size."""
    train = digits("train")

    for path in CHECKPOINTS.values():
        card = json.loads(path.with_suffix(".json").read_text())

        assert card["data"] == {"dataset": "digits", "split": "train", "digest": train.digest, "n": len(train)}


@pytest.mark.parametrize("purifier", ["unet", "autoencoder", "gan"])
def test_a_kind_of_purifier_is_the_network_its_name_promises(purifier):
    """Before and after fine-tuning; and a file of a megabyte is all that any of them needs."""
    kind, network = {"autoencoder": ("-autoencoder",) * 2, "gan": ("-gan", "-gated-inpainter")}.get(
        purifier, ("", "-unet")
    )

    for name in (f"ap{kind}", f"atop{kind}-rt1", f"atop{kind}-rt2"):
        card = json.loads(CHECKPOINTS[name].with_suffix(".json").read_text())
        assert f"-{card['architecture']['name']}" == network
        assert CHECKPOINTS[name].stat().st_size < 2**20


EVERY = sorted(FOLDER.parent.glob("*/*.safetensors"))


@pytest.fixture(params=EVERY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def checkpoint(request):
    return request.param, json.loads(request.param.with_suffix(".json").read_text(encoding="utf-8"))


def test_every_file_of_weights_has_a_complete_card_of_its_own(checkpoint):
    """Whoever gets a file of weights knows what it is, and that it is this one."""
    path, card = checkpoint

    assert set(card) >= {
        *("name", "summary", "architecture", "recipe", "data", "parents", "seed", "command", "trained_on"),
        *("stochastic", "standard_accuracy", "validation", "seconds", "versions", "device", "threads", "sha256"),
    }
    assert card["sha256"] == sha256(path)
    assert card["name"] == path.stem
    assert set(card["data"]) == {"dataset", "split", "digest", "n"}
    assert (card["data"]["dataset"], card["data"]["split"]) == (path.parent.name, "train")
    assert card["standard_accuracy"]["split"] == "test"
    assert "unfinished" not in card
    assert card.get("note", "x").isprintable()
    # Each stands alone: a parent that was trained again would make this file one that nobody can make again.
    assert card["parents"] == {name: sha256(path.with_name(f"{name}.safetensors")) for name in card["parents"]}


def test_every_file_of_weights_can_be_trained_again_from_its_card(checkpoint):
    """Its command, read by the recipes of today, is the recipe that it was trained by."""
    path, card = checkpoint
    program, command, training, *words = shlex.split(card["command"])
    options = list(zip(words[::2], words[1::2], strict=True))
    changed = dict(text.split("=", 1) for option, text in options if option == "--set")
    given = {option: text for option, text in options if option != "--set"}

    recipe = read_recipe(training, path.parent.name, changed)

    assert (program, command) == ("bench", "train")
    assert set(given) <= {"--dataset", "--seed"}
    assert name_in_paths(given["--dataset"]) == path.parent.name
    assert int(given.get("--seed", 0)) == card["seed"]
    assert path.stem == (f"{training}-rt{recipe.rt}" if isinstance(recipe, FineTuningRecipe) else training)
    assert set(card["parents"]) == set(starts_from(training))
    assert card["trained_on"] == recipe.trained_on
    # A card may be older than a hyper-parameter: then it was trained by what is its default.
    assert type(recipe)(**card["recipe"]) == recipe
