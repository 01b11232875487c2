"""The division of a call's minutes among trainings and matrix, and the epochs it allows on a card of stated speed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bench.defenses.networks import by_name
from bench.defenses.training.budget import Budget
from bench.defenses.training.recipe import ClassifierRecipe, FineTuningRecipe, PurifierRecipe, Recipe, read_recipe
from bench.types import ImageSpec
from gpu import parcel

# Shares of a call of nine minutes: trainings get the time after which more brings little, the matrix gets the rest.
SHARES = {
    "standard-resnet-18": 0.09,
    "at-resnet-18": 0.46,
    "ap-resnet-18": 0.07,
    "atop-resnet-18": 0.16,
    "matrix": 0.20,
}
# Seconds at the end for packing the parcel.
PACKING = 12.0
SPECS = {"cifar10": ImageSpec((3, 32, 32), 10), "cifar100": ImageSpec((3, 32, 32), 100)}
# Training images without the validation split.
IMAGES = 48_000
# Teraflops of convolutions with 64 and more channels in training, in bfloat16 with channels last. About a tenth of
# the card's peak is a guess; `make gpu-measure` measures it.
CARDS = {"h100": 90.0, "a100": 40.0}


@dataclass(frozen=True)
class Planned:
    """The predicted course of one training within its time."""

    name: str
    seconds: float
    epochs: int
    most: int
    images_per_second: float


def seconds_for(todo: Sequence[str], left: float) -> dict[str, float]:
    """Return the seconds of each unfinished part, by its share of the time left."""
    whole = sum(SHARES[name] for name in todo)
    return {name: max(left, 0.0) * SHARES[name] / whole for name in todo}


def operations(network: nn.Module, spec: ImageSpec, *, mask: bool = False) -> int:
    """Count the floating-point operations of the convolutions in one forward of one image, a multiply-add as two."""
    total = 0

    def count(layer: nn.Conv2d, _given: object, output: torch.Tensor) -> None:
        nonlocal total
        height, width = layer.kernel_size
        total += 2 * output[0].numel() * height * width * layer.in_channels // layer.groups

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        x = torch.zeros(1, *spec.shape)
        network(x, x[:, :1]) if mask else network(x)
    for hook in hooks:
        hook.remove()
    return total


def per_image(recipe: Recipe, classifier: int, purifier: int) -> float:
    """Return the operations for one image in one update.

    A backward for weights and images costs as much as two forwards, one for images alone as much as one. Each
    step of an attack takes a forward and a backward of the latter kind.
    """
    if isinstance(recipe, ClassifierRecipe):
        return classifier * (3 + 2 * recipe.steps)
    if isinstance(recipe, PurifierRecipe):
        return purifier * 3
    if isinstance(recipe, FineTuningRecipe):
        return (classifier * 2 + purifier * 3) + 2 * recipe.steps * (classifier + purifier)
    raise TypeError(f"no plan for {type(recipe).__name__}")


def planned(dataset: str, minutes: float, teraflops: float) -> tuple[list[Planned], float]:
    """Predict the trainings of a first call on a card of this speed, and the seconds left for the matrix."""
    spec = SPECS[dataset]
    recipes = {name: read_recipe(name, dataset, {}) for name in SHARES if name != "matrix"}
    standard, ap = recipes["standard-resnet-18"], recipes["ap-resnet-18"]
    assert isinstance(standard, ClassifierRecipe)  # noqa: S101  (for the type checker)
    assert isinstance(ap, PurifierRecipe)  # noqa: S101
    sizes = [
        operations(by_name.build({"name": each.architecture, "width": each.width}, spec).eval(), spec, mask=mask)
        for each, mask in ((standard, False), (ap, True))
    ]
    seconds = seconds_for(list(SHARES), 60 * minutes - PACKING)
    told = []
    for name, recipe in recipes.items():
        speed = teraflops * 1e12 / per_image(recipe, *sizes)
        update = recipe.batch_size / speed
        epochs = Budget(seconds[name], lambda: 0.0, 0.0).epochs(update, IMAGES // recipe.batch_size, recipe.epochs)
        told.append(Planned(name, seconds[name], epochs, recipe.epochs, speed))
    return told, seconds["matrix"] + sum(
        each.seconds - each.epochs * IMAGES / each.images_per_second / 0.9 for each in told
    )


def show(dataset: str, minutes: float, card: str) -> str:
    """Return the plan as text."""
    found, rest = planned(dataset, minutes, CARDS[card])
    lines = [f"{dataset}, {minutes:g} minutes, {CARDS[card]:g} TFLOP/s ({card}; stated, not measured)"]
    lines += [
        f"  {each.name:20s} {each.seconds:4.0f} s  {each.images_per_second:8,.0f} images/s  "
        f"{each.epochs:3d} of at most {each.most} epochs"
        for each in found
    ]
    lines.append(f"  {'matrix':20s} {rest:4.0f} s, and whatever else the trainings leave")
    size = sum(bytes_of(name, dataset) for name in SHARES if name != "matrix")
    parts = -(-size // parcel.PART)
    lines.append(f"  weights {size / 2**20:.1f} MiB in half precision: {parts} files of at most 16 MiB")
    return "\n".join(lines)


def bytes_of(name: str, dataset: str) -> int:
    """Return the size of a training's weights in bytes, without a header of a few kilobytes."""
    recipe = read_recipe(name, dataset, {})
    built = recipe if not isinstance(recipe, FineTuningRecipe) else read_recipe("ap-resnet-18", dataset, {})
    assert isinstance(built, ClassifierRecipe | PurifierRecipe)  # noqa: S101  (for the type checker)
    network = by_name.build({"name": built.architecture, "width": built.width}, SPECS[dataset])
    return sum(tensor.numel() * (2 if recipe.half else 4) for tensor in network.state_dict().values())


def main(words: Sequence[str]) -> int:
    """Print the plan of a call."""
    options = argparse.ArgumentParser("python -m gpu plan", description=__doc__)
    options.add_argument("dataset", choices=sorted(SPECS))
    options.add_argument("--minutes", type=float, default=9.0)
    options.add_argument("--card", choices=sorted(CARDS), default="h100")
    given = options.parse_args(words)
    print(show(given.dataset, given.minutes, given.card))
    return 0
