"""Hyper-parameters of a training: TOML files in `recipes/`, and `key=value` changes to them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from bench.errors import BenchError, unknown
from bench.families import LP_FAMILIES
from bench.types import ThreatModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "recipes"
FALLBACK = "default"


@dataclass(frozen=True)
class Optimization:
    """What every training has.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per update.
        learning_rate: the peak of the one-cycle schedule, for AdamW.
        weight_decay: decoupled, as AdamW has it.
        shift: images are moved at random by up to so many pixels.
        flip: images are mirrored at random.
        validation_threat: the threat model of the quick robust accuracy in the card; empty for none.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    shift: int
    flip: bool
    validation_threat: str


@dataclass(frozen=True)
class Adversary:
    """Who crafts the training examples.

    Attributes:
        threat: an Lp threat model.
        steps: gradient steps; 0 trains without adversarial examples.
        step_size: in units of eps.
    """

    threat: str
    steps: int
    step_size: float


@dataclass(frozen=True)
class ClassifierRecipe(Optimization, Adversary):
    """Standard and adversarial training; they differ in `steps` alone.

    Attributes:
        architecture: a name in `bench.defenses.networks.CLASSIFIERS`.
        width: its channels.
    """

    architecture: str
    width: int

    @property
    def trained_on(self) -> list[str]:
        return [self.threat] if self.steps else []


@dataclass(frozen=True)
class PurifierRecipe(Optimization):
    """Purifier pre-training on clean images alone.

    Attributes:
        architecture: a name in `bench.defenses.networks.PURIFIERS`.
        width: its channels.
        noise: the largest standard deviation of the noise on the input.
        missing_rate: the share of blocks hidden from half of the inputs.
    """

    architecture: str
    width: int
    noise: float
    missing_rate: float

    @property
    def trained_on(self) -> list[str]:
        return []


@dataclass(frozen=True)
class FineTuningRecipe(Optimization, Adversary):
    """Adversarial fine-tuning of a purifier.

    Attributes:
        rt: the random transform: `none`, `1`, `2` or `3`.
        classification_weight: lambda, the weight of the cross-entropy beside the pixel loss.
    """

    rt: str
    classification_weight: float

    @property
    def trained_on(self) -> list[str]:
        return [self.threat] if self.steps else []


Recipe = ClassifierRecipe | PurifierRecipe | FineTuningRecipe

KINDS: dict[str, type[ClassifierRecipe] | type[PurifierRecipe] | type[FineTuningRecipe]] = {
    "standard": ClassifierRecipe,
    "at": ClassifierRecipe,
    "ap": PurifierRecipe,
    "atop": FineTuningRecipe,
}

_AT_LEAST_ONE = ("epochs", "batch_size", "width")
_POSITIVE = ("learning_rate", "step_size")
_SHARES = ("missing_rate", "noise")


def read_recipe(name: str, dataset: str, overrides: Mapping[str, str]) -> Recipe:
    """The recipe of training `name` for a dataset, or the default one, with some values changed.

    Raises:
        BenchError: no such training, no such key, or a value of the wrong type or out of range.
    """
    if name not in KINDS:
        raise unknown("training", name, KINDS)
    kind = KINDS[name]
    values = tomllib.loads(_file(name, dataset).read_text(encoding="utf-8"))
    types = get_type_hints(kind)
    for key, text in overrides.items():
        if key not in types:
            raise unknown(f"parameter of training {name!r}", key, types)
        values[key] = _value(key, text, types[key])
    recipe = kind(**values)
    _check(recipe)
    return recipe


def _file(name: str, dataset: str) -> Path:
    own = FOLDER / dataset / f"{name}.toml"
    # A dataset may be named by a path (`imagefolder:/data/birds`), which is no folder of ours.
    return own if dataset.isidentifier() and own.is_file() else FOLDER / FALLBACK / f"{name}.toml"


Scalar = TypeVar("Scalar", int, float)


def _value(key: str, text: str, kind: type) -> Any:  # noqa: ANN401  (int, float, bool or str, as the field is)
    text = text.strip()
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise BenchError(f"{key}={text!r} is not a truth value: write {key}=true or {key}=false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise BenchError(f"{key}={text!r} is not {wanted}") from None


def _check(recipe: Recipe) -> None:
    """Bounds that hold for every recipe; names of networks and transforms are checked where they are known."""
    values = dataclasses.asdict(recipe)
    for key in _AT_LEAST_ONE:
        if key in values and values[key] < 1:
            raise BenchError(f"{key}={values[key]} is out of range: it must be at least 1")
    for key in _POSITIVE:
        if key in values and not 0 < values[key] < float("inf"):
            raise BenchError(f"{key}={values[key]} is out of range: it must be positive")
    for key in _SHARES:
        if key in values and not 0 <= values[key] <= 1:
            raise BenchError(f"{key}={values[key]} is out of range: it must be between 0 and 1")
    for key in ("steps", "shift", "weight_decay", "classification_weight"):
        if key in values and not values[key] >= 0:
            raise BenchError(f"{key}={values[key]} is out of range: it must not be negative")
    for key in ("threat", "validation_threat"):
        if key not in values or (key == "validation_threat" and not values[key]):
            continue
        if not ThreatModel.parse(values[key]).is_lp:
            raise BenchError(f"{key}={values[key]!r} is no Lp threat model: choose among {', '.join(LP_FAMILIES)}")
