"""How the minutes of a call are spread over trainings and matrix, and what that makes on a card of stated speed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bench.defenses import networks
from bench.defenses.training.budget import Budget
from bench.defenses.training.recipe import ClassifierRecipe, FineTuningRecipe, PurifierRecipe, Recipe, read_recipe
from bench.types import ImageSpec
from gpu import parcel

# Minutes of nine, by what trains so long until more is worth little; what is left of a call goes to the matrix.
SHARES = {
    "standard-resnet-18": 0.09,
    "at-resnet-18": 0.46,
    "ap-resnet-18": 0.07,
    "atop-resnet-18": 0.16,
    "matrix": 0.20,
}
# Seconds at the end in which what was made is packed.
PACKING = 12.0
SPECS = {"cifar10": ImageSpec((3, 32, 32), 10), "cifar100": ImageSpec((3, 32, 32), 100)}
# Training images, less what is held out for validation.
IMAGES = 48_000
# Teraflops that convolutions of 64 channels and more reach in training, in bfloat16 with channels last: the share of
# the card's peak is a guess until it is measured (a tenth), and `make gpu-measure` measures it.
CARDS = {"h100": 90.0, "a100": 40.0}


@dataclass(frozen=True)
class Planned:
    """What one training makes of its time."""

    name: str
    seconds: float
    epochs: int
    most: int
    images_per_second: float


def seconds_for(todo: Sequence[str], left: float) -> dict[str, float]:
    """The seconds of each part that is still to do: their shares of what is left."""
    whole = sum(SHARES[name] for name in todo)
    return {name: max(left, 0.0) * SHARES[name] / whole for name in todo}


def operations(network: nn.Module, spec: ImageSpec, *, mask: bool = False) -> int:
    """Floating-point operations of the convolutions of one forward of one image, a multiply-add as two."""
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
    """Operations that one image takes in one update.

    A backward for weights and images takes two forwards, one for images alone a single one; an attack asks for
    the latter at each of its steps.
    """
    if isinstance(recipe, ClassifierRecipe):
        return classifier * (3 + 2 * recipe.steps)
    if isinstance(recipe, PurifierRecipe):
        return purifier * 3
    if isinstance(recipe, FineTuningRecipe):
        return (classifier * 2 + purifier * 3) + 2 * recipe.steps * (classifier + purifier)
    raise TypeError(f"no plan for {type(recipe).__name__}")


def planned(dataset: str, minutes: float, teraflops: float) -> tuple[list[Planned], float]:
    """What a first call of so many minutes trains on a card of this speed, and the seconds left for the matrix."""
    spec = SPECS[dataset]
    recipes = {name: read_recipe(name, dataset, {}) for name in SHARES if name != "matrix"}
    standard, ap = recipes["standard-resnet-18"], recipes["ap-resnet-18"]
    assert isinstance(standard, ClassifierRecipe)  # noqa: S101  (for the type checker)
    assert isinstance(ap, PurifierRecipe)  # noqa: S101
    sizes = [
        operations(networks.build({"name": each.architecture, "width": each.width}, spec).eval(), spec, mask=mask)
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
    """The plan as text."""
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
    """The size of what a training writes, but for a header of a few kilobytes."""
    recipe = read_recipe(name, dataset, {})
    built = recipe if not isinstance(recipe, FineTuningRecipe) else read_recipe("ap-resnet-18", dataset, {})
    assert isinstance(built, ClassifierRecipe | PurifierRecipe)  # noqa: S101  (for the type checker)
    network = networks.build({"name": built.architecture, "width": built.width}, SPECS[dataset])
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
