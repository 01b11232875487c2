"""Hyper-parameters of a training: TOML files in `defenses/training/recipes`, and `key=value` changes to them."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from bench.defenses.training.naming import recipe_file, training_of
from bench.errors import BenchError, unknown
from bench.threats import LP_FAMILIES, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """The hyper-parameters of every training.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per update.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: decoupled for `adamw`, added to the gradient for `sgd`.
        shift: largest random shift of an image along each axis, in pixels.
        flip: whether images are mirrored at random.
        validation_threat: the threat model of the quick robust accuracy in the card; empty for none.
        ema: decay of the moving average of the weights, which becomes the result; 0 keeps the last weights.
        amp: whether forwards run in mixed precision with bfloat16 (`torch.autocast`).
        optimizer: `adamw`, or `sgd` with Nesterov's momentum of 0.9, as is usual for large residual networks.
        half: whether the final weights are rounded to half precision and written so, in half the bytes.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    shift: int
    flip: bool
    validation_threat: str
    ema: float = 0.0
    amp: bool = False
    optimizer: str = "adamw"
    half: bool = False


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """The adversary that crafts the training examples.

    Attributes:
        threat: a threat model of an Lp family, of `stadv` or of `recolor`.
        steps: gradient steps; 0 trains without adversarial examples.
        step_size: in units of eps.
        random_start: whether the search begins at a random point of the ball.
    """

    threat: str
    steps: int
    step_size: float
    random_start: bool = True

    @property
    def trained_on(self) -> list[str]:
        return [self.threat] if self.steps else []


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Optimization, Adversary):
    """The recipe of a standard or adversarial training; these differ only in `steps` and `loss`.

    Attributes:
        architecture: a name in `bench.defenses.networks.by_name.CLASSIFIERS`.
        width: channels of the network.
        loss: `cross-entropy` of the adversarial examples (Madry et al., arXiv:1706.06083), or `trades`
            (Zhang et al., arXiv:1901.08573): the cross-entropy of the clean ones plus the KL divergence
            between the answers to both.
        beta: the weight of the second part of `trades`.
    """

    architecture: str
    width: int
    loss: str = "cross-entropy"
    beta: float = 6.0


@dataclass(frozen=True, kw_only=True)
class Repainting:
    """The adversarial (GAN) loss that a purifier may have in addition to its task.

    Attributes:
        gan_weight: the weight of the hinge loss of a discriminator that trains along with it; 0 for none.
        gan_width: channels of the discriminator's first layer.
    """

    gan_weight: float = 0.0
    gan_width: int = 64


@dataclass(frozen=True, kw_only=True)
class PurifierRecipe(Optimization, Repainting):
    """The recipe of a purifier's pre-training on clean images.

    Attributes:
        architecture: a name in `bench.defenses.networks.by_name.PURIFIERS`.
        width: channels of the network.
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


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """The purification that a diffusion model is judged in, and fine-tuned through.

    Attributes:
        t: the noise level up to which noise is added, in (0, 1].
        denoising_steps: steps of the reverse process.
    """

    t: float = 0.1
    denoising_steps: int = 10


@dataclass(frozen=True, kw_only=True)
class DiffusionRecipe(Optimization, Denoising):
    """The recipe of a diffusion model's training on clean images.

    Attributes:
        width: channels at full resolution, a multiple of 8.
        highest: the share of the noise levels to learn, from the lowest up.
    """

    width: int
    highest: float

    @property
    def trained_on(self) -> list[str]:
        return []


@dataclass(frozen=True, kw_only=True)
class FineTuningRecipe(Optimization, Adversary, Repainting):
    """The recipe of a purifier's fine-tuning before a frozen classifier.

    Attributes:
        rt: the random transform: `none`, `1`, `2` or `3`.
        classification_weight: lambda, the weight of the cross-entropy relative to the pixel loss.
        attacked: the model on which the examples are crafted: `pipeline`, the whole defense, or
            `classifier`, without the purifier.
        target: the image with which the pixel loss compares: `clean`, or `adversarial`, the input itself.
    """

    rt: str
    classification_weight: float
    attacked: str = "pipeline"
    target: str = "clean"


@dataclass(frozen=True, kw_only=True)
class DiffusionFineTuningRecipe(Optimization, Adversary, Denoising):
    """The recipe of a diffusion model's fine-tuning before a frozen classifier.

    Attributes:
        classification_weight: lambda, the weight of the cross-entropy relative to the pixel loss.
        checkpointed: whether backward passes compute the denoising steps again instead of keeping them: a third
            more time, and memory that hardly grows with the steps.
    """

    classification_weight: float
    checkpointed: bool = True


Recipe = ClassifierRecipe | PurifierRecipe | DiffusionRecipe | FineTuningRecipe | DiffusionFineTuningRecipe

# By training; `bench.defenses.training.naming` has the names that are made of these.
KINDS: dict[str, type[Recipe]] = {
    "standard": ClassifierRecipe,
    "at": ClassifierRecipe,
    "at-l2": ClassifierRecipe,
    "at-stadv": ClassifierRecipe,
    "fgsm-rs": ClassifierRecipe,
    "trades": ClassifierRecipe,
    "ap": PurifierRecipe,
    "diffpure": DiffusionRecipe,
    "atop": FineTuningRecipe,
    "atop-clean": FineTuningRecipe,
    "atop-paper": FineTuningRecipe,
    "atop-diffusion": DiffusionFineTuningRecipe,
}

# Allowed values of the parameters that are names, as far as they are known in this module.
CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "loss": ("cross-entropy", "trades"),
    "attacked": ("pipeline", "classifier"),
    "target": ("clean", "adversarial"),
}
TRAINABLE = (*LP_FAMILIES, "stadv", "recolor")
_AT_LEAST_ONE = ("epochs", "batch_size", "width", "gan_width", "denoising_steps")
# What no training of ours comes near: more is a slip of the hand, which would fill the memory or never end.
_AT_MOST = {
    "epochs": 10**6,
    "batch_size": 2**20,
    "width": 4096,
    "gan_width": 4096,
    "steps": 10**4,
    "denoising_steps": 10**4,
    "shift": 1024,
}
_POSITIVE = ("learning_rate", "step_size", "t")
_SHARES = ("missing_rate", "noise", "ema", "highest", "t")


def read_recipe(name: str, dataset: str, overrides: Mapping[str, str]) -> Recipe:
    """Read the recipe of training `name` for a dataset, else the default one, and change some values.

    Raises:
        BenchError: there is no such training or key, or a value has the wrong type or is out of range.
    """
    kind = KINDS[training_of(name).training]
    values = tomllib.loads(recipe_file(name, dataset).read_text(encoding="utf-8"))
    types = get_type_hints(kind)
    for key, text in overrides.items():
        if key not in types:
            raise unknown(f"parameter of training {name!r}", key, types)
        values[key] = _value(key, text, types[key])
    recipe = kind(**values)
    _check(recipe)
    return recipe


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
    """Raise a `BenchError` if a value is out of range; networks and transforms are checked where they are built."""
    values = dataclasses.asdict(recipe)
    for key in _AT_LEAST_ONE:
        if key in values and values[key] < 1:
            raise BenchError(f"{key}={values[key]} is out of range: it must be at least 1")
    for key, most in _AT_MOST.items():
        if key in values and values[key] > most:
            raise BenchError(f"{key}={values[key]} is out of range: it must be at most {most:,}")
    for key in _POSITIVE:
        if key in values and not 0 < values[key] < float("inf"):
            raise BenchError(f"{key}={values[key]} is out of range: it must be positive")
    for key in _SHARES:
        if key in values and not 0 <= values[key] <= 1:
            raise BenchError(f"{key}={values[key]} is out of range: it must be between 0 and 1")
    for key in ("steps", "shift", "weight_decay", "classification_weight", "beta", "gan_weight"):
        if key in values and not values[key] >= 0:
            raise BenchError(f"{key}={values[key]} is out of range: it must not be negative")
    if recipe.ema == 1:
        raise BenchError("ema=1.0 is out of range: weights would never move; 0.999 is usual, 0 is none")
    for key, names in CHOICES.items():
        if key in values and values[key] not in names:
            raise unknown(key, values[key], names)
    for key, families in (("threat", TRAINABLE), ("validation_threat", LP_FAMILIES)):
        if key not in values or (key == "validation_threat" and not values[key]):
            continue
        if ThreatModel.parse(values[key]).family not in families:
            raise BenchError(f"{key}={values[key]!r} cannot be trained on: choose among {', '.join(families)}")
