"""Names of trainings, which are those of their recipes and checkpoints: `TRAINING[-PURIFIER][-NETWORK]`.

`atop-gan` is the training `atop` of the kind of purifier `gan`, whose classifier is that of `atop`;
`atop-resnet-18` is the training `atop` of a larger network, whose classifier is larger, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.errors import unknown

FOLDER = Path(__file__).parent / "recipes"
FALLBACK = "default"

# Training -> the trainings from whose checkpoints it starts. The accuracy of a purifier is measured before a
# classifier, and fine-tuning also starts from a purifier.
STARTS_FROM: dict[str, tuple[str, ...]] = {
    "standard": (),
    "at": (),
    "at-l2": (),
    "at-stadv": (),
    "fgsm-rs": (),
    "trades": (),
    "ap": ("standard",),
    "diffpure": ("standard",),
    "atop": ("standard", "ap"),
    "atop-clean": ("standard", "ap"),
    "atop-paper": ("standard", "ap"),
    "atop-diffusion": ("standard", "diffpure"),
}

# Kinds of purifier beside the U-Net, which has no suffix, and the trainings of a purifier that repaints covered images.
PURIFIERS = ("autoencoder", "gan")
REPAINTING = ("ap", "atop", "atop-clean", "atop-paper")

# Larger networks for which some trainings have a recipe: `at-resnet-18` is the training `at` of a ResNet-18, and `w32`
# is one of half its width.
NETWORKS = ("resnet-18", "resnet-18-w32")


class TrainingName(NamedTuple):
    """The parts of a name.

    Attributes:
        training: a key of `STARTS_FROM`.
        purifier: one of `PURIFIERS`, or empty for the U-Net and for trainings of no such purifier.
        network: one of `NETWORKS`, or empty for the small networks.
    """

    training: str
    purifier: str = ""
    network: str = ""

    @property
    def joined(self) -> str:
        return "-".join(part for part in self if part)


def training_of(name: str) -> TrainingName:
    """Split a name into its parts: `("at", "", "resnet-18")`, `("atop", "gan", "")`.

    Raises:
        BenchError: there is no such training.
    """
    known = {each.joined: each for each in _known()}
    if name not in known:
        raise unknown("training", name, list(known))
    return known[name]


def starts_from(name: str) -> tuple[str, ...]:
    """Return the names of the checkpoints from which training `name` starts.

    Raises:
        BenchError: there is no such training.
    """
    training, purifier, network = training_of(name)
    return tuple(
        TrainingName(start, purifier if start in REPAINTING else "", network).joined for start in STARTS_FROM[training]
    )


def recipe_file(name: str, dataset: str) -> Path:
    """Return the file of a recipe: that of the dataset, else the default one, which may not exist."""
    own = FOLDER / dataset / f"{name}.toml"
    # The name of a dataset may contain a path (`imagefolder:/data/birds`), which must not be looked up here.
    return own if dataset.replace("-", "_").isidentifier() and own.is_file() else FOLDER / FALLBACK / f"{name}.toml"


def _known() -> list[TrainingName]:
    """Return the name of every training; of those with suffixes, the ones that have a recipe."""
    made = [
        TrainingName(training, purifier, network)
        for network in ("", *NETWORKS)
        for training in STARTS_FROM
        for purifier in ("", *(PURIFIERS if training in REPAINTING else ()))
    ]
    plain = {TrainingName(training) for training in STARTS_FROM}
    return [each for each in made if each in plain or recipe_file(each.joined, FALLBACK).is_file()]
