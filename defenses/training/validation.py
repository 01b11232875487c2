"""Quick accuracies of a network in training, for the progress bar and for its card at the end.

They are no claims: `bench run` measures the robust accuracy of a defense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks.lp.pgd import PGD
from bench.defenses.training.adversarial import craft
from bench.defenses.training.data import LabelledImages, tensors
from bench.defenses.training.loop import OnEpoch
from bench.defenses.training.recipe import Recipe
from bench.defenses.weights_file import in_half
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream, preserved_generators, seed_everything
from bench.threats import ThreatModel
from bench.types import Defense

# Small numbers: these accuracies are looked at during a training and must not slow it down.
DRAWS = 10  # evaluation draws of a stochastic defense, for the accuracies in the card
WATCHED = 512  # validation images behind the accuracy after each epoch
ATTACKED = 128  # validation images behind the quick robust accuracies
BATCH = 512


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a training after an epoch.

    Attributes:
        stage: the name of the training.
        step: updates done.
        steps: updates in all.
        losses: means over the epoch, by name.
        accuracy: standard accuracy on the first images of the validation split, in [0, 1].
        robust_accuracy: accuracy under five steps of PGD; `None` without a threat model for validation.
        seconds_left: until the training ends at its present speed, or the time of this call is over.
    """

    stage: str
    step: int
    steps: int
    losses: Mapping[str, float] = field(default_factory=dict)
    accuracy: float | None = None
    robust_accuracy: float | None = None
    seconds_left: float | None = None


@contextmanager
def seeded(*scope: object) -> Iterator[None]:
    """Seed the global generators for a block and restore them afterwards."""
    with preserved_generators():
        seed_everything(*scope)
        yield


def watch(
    stage: str,
    defense: Defense,
    validation: LabelledImages,
    threat: str,
    device: str,
    on_progress: Callable[[TrainingProgress], None] | None,
) -> OnEpoch:
    """Return the function to call after each epoch; without `on_progress` it does nothing."""
    if on_progress is None:
        return lambda done, total, losses, left: None
    x, y = tensors(validation, device, WATCHED)

    def on_epoch(done: int, total: int, losses: Mapping[str, float], left: float) -> None:
        # Seeded apart, so that reports of progress do not change the weights of the training.
        with seeded("watch"):
            accuracy = mean_accuracy(defense, x, y, draws=1)
            robust = None
            if threat:
                few = x[:ATTACKED], y[:ATTACKED]
                x_adv = craft(defense.model, *few, ThreatModel.parse(threat), steps=5, step_size=0.5)
                robust = mean_accuracy(defense, x_adv, few[1], draws=1)
        on_progress(TrainingProgress(stage, done, total, losses, accuracy, robust, left))

    return on_epoch


@torch.no_grad()
def mean_accuracy(defense: Defense, x: Tensor, y: Tensor, *, draws: int) -> float:
    """Return the accuracy in eval mode, in [0, 1]; for a stochastic defense the mean over draws."""
    defense.model.eval()
    draws = draws if defense.stochastic else 1
    right = 0
    for _ in range(draws):
        for start in range(0, len(x), BATCH):
            part = slice(start, start + BATCH)
            right += int((defense.model(x[part]).argmax(1) == y[part]).sum())
    return right / (draws * len(y))


def standard_accuracy(defense: Defense, examples: LabelledImages, device: str) -> dict[str, Any]:
    """Return the standard accuracy for a card."""
    x, y = tensors(examples, device)
    value = round(mean_accuracy(defense, x, y, draws=DRAWS), 4)
    draws = {"draws": DRAWS} if defense.stochastic else {}
    return {"split": examples.split, "n": len(y), "value": value, **draws}


def quick_check(defense: Defense, threat: str, validation: LabelledImages, seed: int, device: str) -> dict[str, Any]:
    """Run PGD-20 with momentum through the whole defense, for an upper bound on robust accuracy in the card."""
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
    defense: Defense, threat: str, validation: LabelledImages, seed: int, x: Tensor, y: Tensor
) -> tuple[Tensor, PGD]:
    """Attack the first images of the validation split by the quick attack; return them and the attack."""
    attack = PGD(steps=20, eot=DRAWS, momentum=0.75)
    scope = (seed, validation.digest, "quick check")
    oracle = Oracle(defense, size=len(x), scope=scope)
    stream = Stream.of(validation.ids[: len(x)], *scope, device=x.device)
    return attack(oracle, x, y, ThreatModel.parse(threat), stream=stream), attack


def rounded(
    network: nn.Module, defense: Defense, recipe: Recipe, validation: LabelledImages, seed: int, device: str
) -> dict[str, int]:
    """Round the weights of a network to half precision, in place, and count the predictions that change.

    Args:
        network: the trained part of the defense.
        defense: the whole defense; a stochastic one draws the same numbers before and after.
        recipe: the recipe, whose `validation_threat` the attack uses.
        validation: the images; all of them are used without attack, the first ones under attack.
        seed: of the training.
        device: of the defense.

    Returns:
        `n` images and the number that `changed`; `attacked_n` and `attacked_changed` are the same for
        images attacked before the rounding.
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
    """Return the predicted class of each image, in one draw."""
    defense.model.eval()
    with seeded("answers"):
        return torch.cat([defense.model(x[start : start + BATCH]).argmax(1) for start in range(0, len(x), BATCH)])
