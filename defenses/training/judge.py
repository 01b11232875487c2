"""How good what is being trained is: for the progress bar while it learns, and for its card at the end.

Quick looks, no claims: what a defense can bear is measured by `bench run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks.pgd import PGD
from bench.defenses.checkpoints import in_half
from bench.defenses.training.craft import craft
from bench.defenses.training.data import Examples, tensors
from bench.defenses.training.loop import OnEpoch
from bench.defenses.training.recipe import Recipe
from bench.oracle import Oracle
from bench.random import Stream
from bench.seeding import preserved_generators, seed_everything
from bench.types import Defense, ThreatModel

DRAWS = 10  # evaluation draws of a stochastic defense, for the accuracies in the card
WATCHED = 512  # validation images behind the accuracy after each epoch
ATTACKED = 128  # validation images behind the quick robust accuracies
BATCH = 512


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands after an epoch.

    Attributes:
        stage: the name of the training.
        step: updates done.
        steps: updates in all.
        losses: means over the epoch, by name.
        accuracy: standard accuracy on the beginning of the validation split, in [0, 1].
        robust_accuracy: the same under five steps of PGD; `None` without a threat model to validate on.
    """

    stage: str
    step: int
    steps: int
    losses: Mapping[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    robust_accuracy: float | None = None


@contextmanager
def seeded(*scope: object) -> Iterator[None]:
    """The global generators seeded inside, and afterwards as before."""
    with preserved_generators():
        seed_everything(*scope)
        yield


def watch(
    stage: str,
    defense: Defense,
    validation: Examples,
    threat: str,
    device: str,
    on_progress: Callable[[TrainingProgress], None] | None,
) -> OnEpoch:
    """What a training calls after each epoch; it costs nothing where nobody looks."""
    if on_progress is None:
        return lambda done, total, losses: None
    x, y = tensors(validation, device, WATCHED)

    def on_epoch(done: int, total: int, losses: Mapping[str, float]) -> None:
        # Seeded apart, so that a training that is watched yields the same weights as one that is not.
        with seeded("watch"):
            accuracy = mean_accuracy(defense, x, y, draws=1)
            robust = None
            if threat:
                few = x[:ATTACKED], y[:ATTACKED]
                x_adv = craft(defense.model, *few, ThreatModel.parse(threat), steps=5, step_size=0.5)
                robust = mean_accuracy(defense, x_adv, few[1], draws=1)
        on_progress(TrainingProgress(stage, done, total, losses, accuracy, robust))

    return on_epoch


@torch.no_grad()
def mean_accuracy(defense: Defense, x: Tensor, y: Tensor, *, draws: int) -> float:
    """Accuracy in eval mode, in [0, 1]: the mean over draws where the defense is stochastic."""
    defense.model.eval()
    draws = draws if defense.stochastic else 1
    right = 0
    for _ in range(draws):
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            right += int((defense.model(x[part]).argmax(1) == y[part]).sum())
    return right / (draws * len(y))


def standard_accuracy(defense: Defense, examples: Examples, device: str) -> dict[str, Any]:
    """The line of a card about images that nobody attacks."""
    x, y = tensors(examples, device)
    value = round(mean_accuracy(defense, x, y, draws=DRAWS), 4)
    draws = {"draws": DRAWS} if defense.stochastic else {}
    return {"split": examples.split, "n": len(y), "value": value, **draws}


def quick_check(defense: Defense, threat: str, validation: Examples, seed: int, device: str) -> dict[str, Any]:
    """PGD-20 with momentum through the whole defense: an upper bound on robust accuracy, not a claim."""
    if not threat:
        return {}
    x, y = tensors(validation, device, ATTACKED)
    x_adv, attack = _attacked(defense, threat, validation, seed, x, y)
    return {
        "split": validation.split,
        "n": len(y),
        "threat": threat,
        "attack": f"pgd-20, momentum {attack.momentum}, EOT {DRAWS if defense.stochastic else 1}",
        "draws": DRAWS if defense.stochastic else 1,
        "standard_accuracy": round(mean_accuracy(defense, x, y, draws=DRAWS), 4),
        "robust_accuracy": round(mean_accuracy(defense, x_adv, y, draws=DRAWS), 4),
    }


def _attacked(
    defense: Defense, threat: str, validation: Examples, seed: int, x: Tensor, y: Tensor
) -> tuple[Tensor, PGD]:
    """The beginning of the validation split under the quick attack, and that attack."""
    attack = PGD(steps=20, eot=DRAWS, momentum=0.75)
    scope = (seed, validation.digest, "quick check")
    oracle = Oracle(defense, size=len(x), scope=scope)
    stream = Stream.of(validation.ids[: len(x)], *scope, device=x.device)
    return attack(oracle, x, y, ThreatModel.parse(threat), stream=stream), attack


def rounded(
    network: nn.Module, defense: Defense, recipe: Recipe, validation: Examples, seed: int, device: str
) -> dict[str, int]:
    """Round the weights of a network to half precision, in place, and count the answers that this changes.

    Args:
        network: the part of the defense that was trained.
        defense: in which it is judged; a stochastic one draws the same numbers before and after.
        recipe: says what it is attacked under.
        validation: images that are asked about, without attack all of them.
        seed: of the training.
        device: where all of it is.

    Returns:
        `n` images and how many `changed`, likewise for `attacked` ones that were crafted before the rounding.
    """
    x, y = tensors(validation, device)
    asked = {"": x}
    if recipe.validation_threat:
        few = x[:ATTACKED], y[:ATTACKED]
        asked["attacked_"] = _attacked(defense, recipe.validation_threat, validation, seed, *few)[0]
    before = {name: _answers(defense, images) for name, images in asked.items()}
    network.load_state_dict(in_half(network.state_dict()))
    told = {}
    for name, images in asked.items():
        told[f"{name}n"] = len(images)
        told[f"{name}changed"] = int((_answers(defense, images) != before[name]).sum())
    return told


@torch.no_grad()
def _answers(defense: Defense, x: Tensor) -> Tensor:
    """The class that comes out for each image, one draw."""
    defense.model.eval()
    with seeded("answers"):
        return torch.cat([defense.model(x[start : start + BATCH]).argmax(1) for start in range(0, len(x), BATCH)])
