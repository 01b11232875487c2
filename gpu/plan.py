"""The division of a call's minutes among trainings and matrix, and what that allows on a card of stated speed."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bench.catalogue import DEFENSES, resolve
from bench.catalogue.request import Request, parse_list
from bench.defenses import diffpure
from bench.defenses.networks import by_name
from bench.defenses.training.budget import SHARE, Budget
from bench.defenses.training.recipe import (
    ClassifierRecipe,
    DiffusionRecipe,
    FineTuningRecipe,
    PurifierRecipe,
    Recipe,
    read_recipe,
)
from bench.errors import BenchError
from bench.threats import ThreatModel
from bench.types import ImageSpec
from gpu import parcel
from gpu.calls import CALLS, MATRIX, Call, Line

# Seconds at the end for packing the parcel.
PACKING = 12.0
# Teraflops of convolutions with 64 and more channels in training, in bfloat16 with channels last. About a tenth of
# the card's peak is a guess; `make gpu-measure` measures it.
CARDS = {"h100": 90.0, "a100": 40.0}
# Channels of a convolution from which on its speed is that of the card; narrower ones wait for the memory.
WIDE = 64


@dataclass(frozen=True)
class Planned:
    """The predicted course of one training within its time."""

    name: str
    seconds: float
    epochs: int
    most: int
    images_per_second: float


@dataclass(frozen=True)
class Passes:
    """Floating-point operations of one forward for one image, by part of a defense; 0 where a call has no such part."""

    classifier: float
    purifier: float = 0.0
    denoiser: float = 0.0


def seconds_for(shares: Mapping[str, float], todo: Sequence[str], left: float) -> dict[str, float]:
    """Return the seconds of each unfinished part of a call, by its share of the time left."""
    whole = sum(shares[name] for name in todo)
    return {name: max(left, 0.0) * shares[name] / whole for name in todo}


def operations(network: nn.Module, *given: torch.Tensor, slowed: bool = False) -> float:
    """Count the floating-point operations of the convolutions in one forward of one image, a multiply-add as two.

    Args:
        network: in eval mode.
        given: what it is called with.
        slowed: whether the operations of narrow layers count as many times as they are slower: such a layer moves as
            many numbers for each input and output channel, whatever the number of its operations.
    """
    total = 0.0

    def count(layer: nn.Conv2d, _given: object, output: torch.Tensor) -> None:
        nonlocal total
        height, width = layer.kernel_size
        slower = WIDE / 2 * (1 / layer.in_channels + 1 / layer.out_channels) if slowed else 1.0
        total += max(slower, 1.0) * 2 * output[0].numel() * height * width * layer.in_channels // layer.groups

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        network(*given)
    for hook in hooks:
        hook.remove()
    return total


def passes_of(call: Call) -> Passes:
    """Return the operations of the networks of a call.

    Raises:
        BenchError: it has a diffusion model, and diffusers is not installed.
    """
    x = torch.zeros(1, *call.spec.shape)
    counted = {}
    for training in call.trainings:
        recipe = read_recipe(training, call.folder, {})
        if isinstance(recipe, DiffusionRecipe):
            denoiser = network_of(recipe, call.spec)
            counted["denoiser"] = operations(denoiser, x, torch.zeros(1, dtype=torch.int64), slowed=True)
        elif isinstance(recipe, PurifierRecipe):
            counted["purifier"] = operations(network_of(recipe, call.spec), x, x[:, :1], slowed=True)
        elif isinstance(recipe, ClassifierRecipe):
            counted["classifier"] = operations(network_of(recipe, call.spec), x, slowed=True)
    return Passes(**counted)


def network_of(recipe: ClassifierRecipe | PurifierRecipe | DiffusionRecipe, spec: ImageSpec) -> nn.Module:
    """Build the untrained network of a recipe, in eval mode."""
    if isinstance(recipe, DiffusionRecipe):
        return diffpure.build(diffpure.architecture(spec, recipe.width), spec)[0].eval()
    return by_name.build({"name": recipe.architecture, "width": recipe.width}, spec).eval()


def per_image(recipe: Recipe, passes: Passes) -> float:
    """Return the operations for one image in one update.

    A backward for weights and images costs as much as two forwards, one for images alone as much as one. Each
    step of an attack takes a forward and a backward of the latter kind.
    """
    if isinstance(recipe, ClassifierRecipe):
        return passes.classifier * (3 + 2 * recipe.steps)
    if isinstance(recipe, PurifierRecipe):
        return passes.purifier * 3
    if isinstance(recipe, DiffusionRecipe):
        return passes.denoiser * 3
    both = passes.classifier + passes.purifier
    return (passes.classifier * 2 + passes.purifier * 3) + 2 * recipe.steps * both


def planned(call: Call, minutes: float, teraflops: float) -> tuple[list[Planned], float]:
    """Predict the trainings of a first call on a card of this speed, and the seconds left for the matrix."""
    passes = passes_of(call)
    seconds = seconds_for(call.shares, list(call.shares), 60 * minutes - PACKING)
    told = []
    for name in call.trainings:
        recipe = read_recipe(name, call.folder, {})
        speed = teraflops * 1e12 / per_image(recipe, passes)
        update = recipe.batch_size / speed
        epochs = Budget(seconds[name], lambda: 0.0, 0.0).epochs(update, call.images // recipe.batch_size, recipe.epochs)
        told.append(Planned(name, seconds[name], epochs, recipe.epochs, speed))
    return told, seconds[MATRIX] + sum(
        each.seconds - each.epochs * call.images / each.images_per_second / SHARE for each in told
    )


def most_operations(line: Line, passes: Passes, dataset: str) -> float:
    """Return the operations of a line of a matrix if no image is broken before the last step of an attack."""
    total = 0.0
    threats = [ThreatModel.parse(text) for text in line.threats.split(",")]
    for defense in parse_list(line.defenses, "defense"):
        found = DEFENSES.get(defense.name)
        config = {**found.config, **defense.parameters}
        # Each backward of a diffusion model recomputes its forward.
        forward = backward = passes.classifier
        if defense.name == "diffpure":
            forward += int(config["steps"]) * passes.denoiser
            backward += 2 * int(config["steps"]) * passes.denoiser
        elif defense.name not in ("standard", "at"):
            forward, backward = forward + passes.purifier, backward + passes.purifier
        kind = "stochastic" if found.is_stochastic(config) else "deterministic"
        for attack in parse_list(line.attacks, "attack"):
            for threat in threats:
                if threat.family in resolve.entry(attack).families:
                    forwards, backwards, alone = passes_of_attack(attack, kind, threat.family, dataset)
                    per_pass = (passes.classifier, passes.classifier) if alone else (forward, backward)
                    total += line.n * (forwards * per_pass[0] + backwards * per_pass[1])
    return total


def passes_of_attack(request: Request, kind: str, family: str, dataset: str) -> tuple[float, float, bool]:
    """Return the most forwards and backwards of an attack for one image, and whether the classifier alone makes them.

    Args:
        request: the attack; one that is not defined for such defenses takes none.
        kind: of the defense, `deterministic` or `stochastic`; the latter answers in several draws.
        family: of the threat model.
        dataset: its name in a path.
    """
    found, ref = resolve.attack(request, dataset, None)
    if kind in found.not_for:
        return 0.0, 0.0, False
    if not found.parts:
        alone = found.needs == "base"
        draws = int(ref.config.get("eot", ref.eot)) if kind == "stochastic" and not alone else 1
        return ref.forwards * draws, ref.backwards * draws, alone
    forwards = backwards = 0.0
    for parts, share in ((found.parts, 1.0), (found.reserve, found.audited)):
        for part in parts.get(f"{kind} {family}", parts.get(kind, ())):
            (asked,) = parse_list(part, "attack")
            more = passes_of_attack(asked, kind, family, dataset)
            forwards, backwards = forwards + share * more[0], backwards + share * more[1]
    return forwards, backwards, False


def show(call: Call, minutes: float, card: str) -> str:
    """Return the plan as text."""
    teraflops = CARDS[card]
    found, rest = planned(call, minutes, teraflops)
    lines = [f"{call.name}, {minutes:g} minutes, {teraflops:g} TFLOP/s ({card}; stated, not measured)"]
    lines += [
        f"  {each.name:20s} {each.seconds:4.0f} s  {each.images_per_second:8,.0f} images/s  "
        f"{each.epochs:3d} of at most {each.most} epochs"
        for each in found
    ]
    lines.append(f"  {MATRIX:20s} {rest:4.0f} s, and whatever else the trainings leave")
    passes = passes_of(call)
    most = [most_operations(line, passes, call.folder) / (teraflops * 1e12) for line in call.full.matrix]
    later = math.ceil(max(sum(most) - rest, 0) / (60 * minutes - PACKING))
    lines.append(f"  its {len(most)} lines take at most {', '.join(f'{each:,.0f}' for each in most)} s")
    lines.append(f"  calls after this one, at most: {later}")
    size = sum(bytes_of(name, call) for name in call.trainings)
    parts = -(-size // parcel.PART)
    lines.append(f"  weights {size / 2**20:.1f} MiB in half precision: {parts} files of at most 16 MiB")
    return "\n".join(lines)


def bytes_of(name: str, call: Call) -> int:
    """Return the size of a training's weights in bytes, without a header of a few kilobytes."""
    recipe = read_recipe(name, call.folder, {})
    built = read_recipe("ap-resnet-18", call.folder, {}) if isinstance(recipe, FineTuningRecipe) else recipe
    assert isinstance(built, ClassifierRecipe | PurifierRecipe | DiffusionRecipe)  # noqa: S101  (for the type checker)
    values = sum(tensor.numel() for tensor in network_of(built, call.spec).state_dict().values())
    return values * (2 if recipe.half else 4)


def main(words: Sequence[str]) -> int:
    """Print the plan of a call; return 0, or 2 where it cannot be made."""
    options = argparse.ArgumentParser("python -m gpu plan", description=__doc__)
    options.add_argument("call", choices=sorted(CALLS))
    options.add_argument("--minutes", type=float, default=9.0)
    options.add_argument("--card", choices=sorted(CARDS), default="h100")
    given = options.parse_args(words)
    try:
        print(show(CALLS[given.call], given.minutes, given.card))
    except BenchError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 2
    return 0
