"""One training from recipe to checkpoint: what `bench train` does."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks.pgd import PGD
from bench.defenses import checkpoints as files
from bench.defenses import networks
from bench.defenses.purified import Purified
from bench.defenses.training.classifier import train_classifier
from bench.defenses.training.data import Examples, tensors
from bench.defenses.training.finetune import fine_tune
from bench.defenses.training.loop import OnEpoch
from bench.defenses.training.purifier import train_purifier
from bench.defenses.training.recipe import ClassifierRecipe, PurifierRecipe, Recipe, read_recipe
from bench.defenses.transforms import random_transform
from bench.errors import unknown
from bench.oracle import Oracle
from bench.random import Stream
from bench.seeding import preserved_generators, seed_everything
from bench.types import Defense, ImageSpec, ThreatModel

DRAWS = 10  # evaluation draws of a stochastic defense, for the accuracies in the card
WATCHED = 512  # validation images behind the accuracy after each epoch
ATTACKED = 128  # validation images behind the quick robust accuracy in the card
BATCH = 512

SUMMARIES = {
    "standard": "classifier trained without adversarial examples",
    "at": "classifier trained on PGD examples",
    "ap": "purifier trained on clean images alone",
    "atop": "purifier fine-tuned on adversarial examples crafted through the whole pipeline",
}


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands after an epoch.

    Attributes:
        stage: the name of the training.
        step: updates done.
        steps: updates in all.
        losses: means over the epoch, by name.
        accuracy: standard accuracy on the beginning of the validation split, in [0, 1].
    """

    stage: str
    step: int
    steps: int
    losses: Mapping[str, float] = field(default_factory=dict)
    accuracy: float | None = None


@dataclass(frozen=True)
class _Job:
    """What is trained, and the defense in which it is judged."""

    weights: str
    architecture: Mapping[str, Any]
    network: nn.Module
    defense: Defense
    parents: Mapping[str, str]


def train(
    name: str,
    train: Examples,
    validation: Examples,
    *,
    out: Path,
    checkpoints: Mapping[str, Path],
    seed: int = 0,
    overrides: Mapping[str, str] | None = None,
    device: str = "cpu",
    on_progress: Callable[[TrainingProgress], None] | None = None,
    command: str = "",
    test: Examples | None = None,
) -> Path:
    """Train and write `<out>/<weights>.safetensors` with its card.

    The same seed on the same machine, with the same number of threads, gives the same bytes. The
    random generators of the caller are left as they were.

    Args:
        name: `standard`, `at`, `ap` or `atop`.
        train: what is learned.
        validation: what progress is measured on; nothing is learned or selected from it here.
        out: the folder to write to.
        checkpoints: what this training starts from: `ap` needs `standard`, `atop` needs
            `standard` and `ap`.
        seed: of initialization, order and noise.
        overrides: recipe values to change, as `key: text`.
        device: `cpu`, `cuda`, ...
        on_progress: called after every epoch.
        command: what the card says to type to repeat this training.
        test: only for the standard accuracy in the card; without it, `validation` serves.

    Returns:
        The path of the weights.
    """
    recipe = read_recipe(name, train.dataset, overrides or {})
    began = time.perf_counter()
    with _seeded(seed, name, train.digest):
        job = _prepare(recipe, name, checkpoints, train.spec, device)
        on_epoch = _watch(name, job.defense, validation, device, on_progress)
        # Channels last: the same numbers up to rounding, up to 1.7 times faster on a CPU.
        job.defense.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x, y = tensors(train, device)
        _learn(job, x, y, recipe, on_epoch)
    seconds = time.perf_counter() - began
    with _seeded(seed, name, "judge"):
        card = {
            "name": job.weights,
            "summary": SUMMARIES[name],
            "architecture": job.architecture,
            "recipe": asdict(recipe),
            "data": _describe(train),
            "parents": job.parents,
            "seed": seed,
            "command": command,
            "trained_on": recipe.trained_on,
            "stochastic": job.defense.stochastic,
            "standard_accuracy": _standard_accuracy(job.defense, test or validation, device),
            "validation": _quick_check(job.defense, recipe.validation_threat, validation, seed, device),
            "seconds": round(seconds, 1),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "device": device,
            "threads": torch.get_num_threads(),
        }
    path = out / f"{job.weights}.safetensors"
    files.write(path, job.network.state_dict(), card)
    return path


@contextmanager
def _seeded(*scope: object) -> Iterator[None]:
    """The global generators seeded inside, and afterwards as before."""
    with preserved_generators():
        seed_everything(*scope)
        yield


def _prepare(recipe: Recipe, name: str, checkpoints: Mapping[str, Path], spec: ImageSpec, device: str) -> _Job:
    if isinstance(recipe, ClassifierRecipe):
        if recipe.architecture not in networks.CLASSIFIERS:
            raise unknown("classifier architecture", recipe.architecture, networks.CLASSIFIERS)
        architecture = {"name": recipe.architecture, "width": recipe.width}
        model = networks.build(architecture, spec).to(device)
        return _Job(name, architecture, model, Defense(model), {})
    classifier, _ = networks.restore("standard", checkpoints, spec)
    parents = {"standard": files.sha256(Path(checkpoints["standard"]))}
    if isinstance(recipe, PurifierRecipe):
        if recipe.architecture not in networks.PURIFIERS:
            raise unknown("purifier architecture", recipe.architecture, networks.PURIFIERS)
        architecture = {"name": recipe.architecture, "width": recipe.width}
        purifier = networks.build(architecture, spec)
        rt, weights = "none", name
    else:
        purifier, card = networks.restore("ap", checkpoints, spec)
        architecture = card["architecture"]
        parents["ap"] = files.sha256(Path(checkpoints["ap"]))
        rt, weights = recipe.rt, f"{name}-rt{recipe.rt}"
    transform = random_transform(rt)
    pipeline = Purified(transform, purifier, classifier).to(device).eval()
    return _Job(weights, architecture, purifier, Defense(pipeline, stochastic=transform.stochastic), parents)


def _learn(job: _Job, x: Tensor, y: Tensor, recipe: Recipe, on_epoch: OnEpoch) -> None:
    if isinstance(recipe, ClassifierRecipe):
        train_classifier(job.network, x, y, recipe, on_epoch)
    elif isinstance(recipe, PurifierRecipe):
        train_purifier(job.network, x, y, recipe, on_epoch)
    elif isinstance(job.defense.model, Purified):
        fine_tune(job.defense.model, x, y, recipe, on_epoch)


def _watch(
    stage: str,
    defense: Defense,
    validation: Examples,
    device: str,
    on_progress: Callable[[TrainingProgress], None] | None,
) -> OnEpoch:
    if on_progress is None:
        return lambda done, total, losses: None
    x, y = tensors(validation, device, WATCHED)

    def on_epoch(done: int, total: int, losses: Mapping[str, float]) -> None:
        # Seeded apart, so that a training that is watched yields the same weights as one that is not.
        with _seeded("watch"):
            accuracy = mean_accuracy(defense, x, y, draws=1)
        on_progress(TrainingProgress(stage, done, total, losses, accuracy))

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


def _describe(examples: Examples, n: int | None = None) -> dict[str, Any]:
    return {
        "dataset": examples.dataset,
        "split": examples.split,
        "digest": examples.digest,
        "n": n or len(examples.y),
    }


def _standard_accuracy(defense: Defense, examples: Examples, device: str) -> dict[str, Any]:
    x, y = tensors(examples, device)
    value = round(mean_accuracy(defense, x, y, draws=DRAWS), 4)
    draws = {"draws": DRAWS} if defense.stochastic else {}
    return {"split": examples.split, "n": len(y), "value": value, **draws}


def _quick_check(defense: Defense, threat: str, validation: Examples, seed: int, device: str) -> dict[str, Any]:
    """PGD-20 with momentum through the whole defense: an upper bound on robust accuracy, not a claim."""
    if not threat:
        return {}
    x, y = tensors(validation, device, ATTACKED)
    attack = PGD(steps=20, eot=DRAWS, momentum=0.75)
    scope = (seed, validation.digest, "quick check")
    oracle = Oracle(defense, size=len(x), scope=scope)
    stream = Stream.of(validation.ids[: len(x)], *scope, device=device)
    x_adv = attack(oracle, x, y, ThreatModel.parse(threat), stream=stream)
    return {
        "split": validation.split,
        "n": len(y),
        "threat": threat,
        "attack": f"pgd-20, momentum {attack.momentum}, EOT {DRAWS if defense.stochastic else 1}",
        "draws": DRAWS if defense.stochastic else 1,
        "standard_accuracy": round(mean_accuracy(defense, x, y, draws=DRAWS), 4),
        "robust_accuracy": round(mean_accuracy(defense, x_adv, y, draws=DRAWS), 4),
    }
