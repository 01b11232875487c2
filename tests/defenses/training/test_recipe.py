"""Recipes: every committed file is sound, and a wrong override is one line with its remedy."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest

from bench.datasets.load import name_in_paths
from bench.defenses.networks.by_name import CLASSIFIERS, PURIFIERS
from bench.defenses.training.naming import FOLDER, starts_from, training_of
from bench.defenses.training.recipe import KINDS, PurifierRecipe, read_recipe
from bench.defenses.transforms import TRANSFORMS
from bench.errors import BenchError

DATASETS = sorted(path.name for path in FOLDER.iterdir())
WHOLE = ("default", "digits")  # those with a recipe of every training
# They build on each other, so a dataset has recipes of its own for all of them or for none.
FOUR = {"standard", "at", "ap", "atop"}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_committed_recipe_is_complete_and_names_what_exists(dataset, name):
    """A recipe gives each hyper-parameter once, and its networks and transforms are known; default ones fill gaps."""
    assert dataset not in WHOLE or (FOLDER / dataset / f"{name}.toml").is_file()

    recipe = dataclasses.asdict(read_recipe(name, dataset, {}))

    assert set(recipe) == {field.name for field in dataclasses.fields(KINDS[name])}
    assert recipe.get("architecture", "unet") in CLASSIFIERS | PURIFIERS
    assert recipe.get("rt", "1") in TRANSFORMS


@pytest.mark.parametrize("dataset", sorted({*DATASETS} - {"default"}))
def test_a_folder_of_recipes_has_the_name_that_images_are_trained_under(dataset):
    """A folder of another name is never looked into: its trainings would take the default recipes and not say so."""
    there = {path.stem for path in (FOLDER / dataset).iterdir()}

    assert name_in_paths(dataset) == dataset
    assert there >= FOUR or there >= {f"{name}-resnet-18" for name in FOUR}
    for name in there:
        assert (
            dataclasses.asdict(read_recipe(name, dataset, {})).items()
            >= tomllib.loads((FOLDER / dataset / f"{name}.toml").read_text(encoding="utf-8")).items()
        )


@pytest.mark.parametrize("kind", ["autoencoder", "gan"])
@pytest.mark.parametrize("dataset", ["default", "digits"])
def test_every_kind_of_purifier_has_a_recipe_that_names_its_network(dataset, kind):
    """Pre-training and fine-tuning, on gray images and on those in color; only `gan` has a discriminator."""
    before, after = (read_recipe(f"{training}-{kind}", dataset, {}) for training in ("ap", "atop"))

    assert isinstance(before, PurifierRecipe)
    assert before.architecture == {"autoencoder": "autoencoder", "gan": "gated-inpainter"}[kind]
    assert (before.gan_weight > 0) == (after.gan_weight > 0) == (kind == "gan")
    assert starts_from(f"atop-{kind}") == ("standard", f"ap-{kind}")


def test_every_recipe_of_a_larger_network_is_complete_and_fits_the_others():
    """`at-resnet-18` is `standard-resnet-18` but for the attack; purifiers start from what is trained before."""
    sized = sorted(path.stem for path in (FOLDER / "default").glob("*-resnet-18.toml"))
    recipes = {name: read_recipe(name, "cifar10", {}) for name in sized}

    assert sized == [
        *("ap-resnet-18", "at-resnet-18", "atop-diffusion-resnet-18", "atop-resnet-18", "diffpure-resnet-18"),
        "standard-resnet-18",
    ]
    for name, recipe in recipes.items():
        assert training_of(name) == (name.removesuffix("-resnet-18"), "", "resnet-18")
        assert recipe.half  # a file of 22 MB instead of 45
        assert set(starts_from(name)) <= set(sized)
    standard, at = recipes["standard-resnet-18"], recipes["at-resnet-18"]
    assert (standard.architecture, standard.width) == (at.architecture, at.width) == ("preact-resnet-18", 64)
    assert starts_from("atop-resnet-18") == ("standard-resnet-18", "ap-resnet-18")
    assert starts_from("atop-diffusion-resnet-18") == ("standard-resnet-18", "diffpure-resnet-18")


@pytest.mark.parametrize("dataset", ["imagenette-160-resize128", "imagenette-320"])
def test_larger_images_have_a_narrower_network_and_recipes_that_fit_each_other(dataset):
    """A ResNet-18 of the usual width would take 16 times the operations of CIFAR's, and more at 256 pixels."""
    standard, at, ap, atop = (
        read_recipe(f"{name}-resnet-18", dataset, {}) for name in ("standard", "at", "ap", "atop")
    )

    assert (standard.architecture, standard.width) == (at.architecture, at.width) == ("preact-resnet-18", 32)
    assert (standard.steps, ap.shift) == (0, atop.shift)
    assert at.threat == atop.threat == "Linf:8/255"
    assert all(each.half and each.amp for each in (standard, at, ap, atop))


@pytest.mark.parametrize("dataset", DATASETS)
def test_standard_and_at_share_one_architecture(dataset):
    """The weights of one load in the place of the other, so that only training differs."""
    standard, at = (read_recipe(name, dataset, {}) for name in ("standard", "at"))

    assert (standard.architecture, standard.width) == (at.architecture, at.width)
    assert standard.trained_on == []
    assert at.trained_on == [at.threat]


@pytest.mark.parametrize("dataset", ["cifar10", "imagefolder:/data/birds", "../recipes/digits"])
def test_a_dataset_without_recipes_of_its_own_gets_the_default_ones(dataset):
    """Any image folder can be trained on; a path never leads out of the recipes."""
    assert read_recipe("at", dataset, {}) == read_recipe("at", "default", {})
    assert read_recipe("at", dataset, {}) != read_recipe("at", "digits", {})


def test_an_override_takes_the_type_of_its_field():
    """Text from the command line becomes a whole number, a number, a truth value or a name."""
    changed = {"epochs": "3", "learning_rate": "1e-2", "flip": "true", "rt": "2"}

    recipe = read_recipe("atop", "digits", changed)

    assert (recipe.epochs, recipe.learning_rate, recipe.flip, recipe.rt) == (3, 0.01, True, "2")
    assert recipe.steps == read_recipe("atop", "digits", {}).steps


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epoch": "3"}, r"unknown parameter of training 'atop' 'epoch': did you mean epochs"),
        ({"rt_": "3"}, r"did you mean rt"),
        ({"epochs": "3.5"}, r"epochs='3.5' is not a whole number"),
        ({"epochs": "many"}, r"epochs='many' is not a whole number"),
        ({"epochs": "0"}, r"epochs=0 is out of range: it must be at least 1"),
        ({"learning_rate": "fast"}, r"learning_rate='fast' is not a number"),
        ({"learning_rate": "nan"}, r"learning_rate=nan is out of range: it must be positive"),
        ({"learning_rate": "-1"}, r"learning_rate=-1.0 is out of range"),
        ({"classification_weight": "nan"}, r"classification_weight=nan is out of range"),
        ({"steps": "-1"}, r"steps=-1 is out of range: it must not be negative"),
        ({"flip": "maybe"}, r"flip='maybe' is not a truth value: write flip=true or flip=false"),
        ({"threat": "Linf:8"}, r"did you mean 8/255"),
        ({"threat": ""}, r"threat '' has no eps"),
        ({"threat": "fog:0.4"}, r"threat='fog:0.4' cannot be trained on: choose among Linf, L2, L1, stadv, recolor"),
        ({"validation_threat": "stadv:0.4"}, r"validation_threat='stadv:0.4' cannot be trained on"),
        ({"attacked": "purifier"}, r"unknown attacked 'purifier'"),
        ({"target": "cleen"}, r"unknown target 'cleen': did you mean clean"),
        ({"ema": "1"}, r"ema=1.0 is out of range"),
        ({"gan_weight": "-1"}, r"gan_weight=-1.0 is out of range"),
    ],
)
def test_a_wrong_override_names_the_value_and_the_remedy(changed, said):
    """One line, no traceback."""
    with pytest.raises(BenchError, match=said) as caught:
        read_recipe("atop", "digits", changed)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"t": "0"}, r"t=0.0 is out of range: it must be positive"),
        ({"t": "1.5"}, r"t=1.5 is out of range: it must be between 0 and 1"),
        ({"denoising_steps": "0"}, r"denoising_steps=0 is out of range: it must be at least 1"),
        ({"rt": "2"}, r"unknown parameter of training 'atop-diffusion' 'rt'"),
    ],
)
def test_a_purification_that_cannot_be_is_refused(changed, said):
    """Without noise there is nothing to fine-tune, and a diffusion model has no random transform."""
    with pytest.raises(BenchError, match=said):
        read_recipe("atop-diffusion", "digits", changed)
