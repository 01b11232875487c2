"""One training from recipe to checkpoint, for `bench train`."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.defenses import diffpure
from bench.defenses import weights_file as files
from bench.defenses.networks import by_name
from bench.defenses.networks.denoiser import Diffusion
from bench.defenses.purification import Purified
from bench.defenses.training.budget import Budget
from bench.defenses.training.classifier import train_classifier
from bench.defenses.training.data import LabelledImages, tensors
from bench.defenses.training.diffusion import fine_tune_diffusion, train_diffusion
from bench.defenses.training.distributed import Workers, device_of, gathered
from bench.defenses.training.finetune import fine_tune
from bench.defenses.training.loop import Learned, OnEpoch
from bench.defenses.training.naming import starts_from, training_of
from bench.defenses.training.purifier import train_purifier
from bench.defenses.training.recipe import (
    ClassifierRecipe,
    DiffusionFineTuningRecipe,
    DiffusionRecipe,
    PurifierRecipe,
    Recipe,
    read_recipe,
)
from bench.defenses.training.resume import EVERY, Journal
from bench.defenses.training.validation import TrainingProgress, quick_check, rounded, seeded, standard_accuracy, watch
from bench.defenses.transforms import random_transform
from bench.errors import BenchError, unknown
from bench.threats import FAMILIES, ThreatModel
from bench.types import Defense, ImageSpec

SUMMARIES = {
    "standard": "classifier trained without adversarial examples",
    "at": "classifier trained on PGD examples",
    "at-l2": "classifier trained on PGD examples in L2",
    "at-stadv": "classifier trained on images whose pixels an adversary moved",
    "fgsm-rs": "classifier trained on examples of a single step from a random start",
    "trades": "classifier trained by TRADES",
    "ap": "purifier trained on clean images alone",
    "diffpure": "diffusion model trained on clean images alone",
    "atop": "purifier fine-tuned on adversarial examples crafted through the whole pipeline",
    "atop-clean": "purifier fine-tuned before the classifier on clean images alone",
    "atop-paper": "purifier fine-tuned on adversarial examples of the classifier alone, as the authors' code does",
    "atop-diffusion": "diffusion model fine-tuned on adversarial examples crafted through the whole denoising process",
}


@dataclass(frozen=True)
class _Job:
    """The network to train, and the defense in which it is judged."""

    weights: str
    architecture: Mapping[str, Any]
    network: nn.Module
    defense: Defense
    parents: Mapping[str, str]


def train(
    name: str,
    train: LabelledImages,
    validation: LabelledImages,
    *,
    out: Path,
    checkpoints: Mapping[str, Path],
    seed: int = 0,
    overrides: Mapping[str, str] | None = None,
    device: str = "cpu",
    on_progress: Callable[[TrainingProgress], None] | None = None,
    command: str = "",
    test: LabelledImages | None = None,
    every: int = EVERY,
    budget: Budget | None = None,
    note: str = "",
) -> Path:
    """Train and write `<out>/<weights>.safetensors` with its card, also as one of several processes.

    The same seed on the same machine, with the same number of threads, gives the same bytes, even if the
    training was killed and resumed. The random generators of the caller stay unchanged.

    With a budget, the time of an update determines the number of epochs, and the card records it. A
    training that is late all the same stops and writes its current weights; the card says `unfinished`,
    and the next call continues.

    Args:
        name: as in `bench.defenses.training.naming.training_of`.
        train: the training examples.
        validation: the examples on which progress is measured; nothing is learned or selected from them.
        out: the folder to write to.
        checkpoints: the checkpoints from which this training starts: `ap` needs `standard`, `atop` needs
            `standard` and `ap`.
        seed: of initialization, order and noise.
        overrides: recipe values to change, as `key: text`.
        device: `cpu`, `cuda`, ...
        on_progress: called after every epoch.
        command: the command in the card that repeats this training.
        test: examples only for the standard accuracy in the card, which else is that of `validation`.
        every: updates between two notes of the state.
        budget: the time of this call.
        note: a sentence for the card.

    Returns:
        The path of the weights.
    """
    recipe = read_recipe(name, train.dataset, overrides or {})
    _check_fits(recipe, train.spec)
    began = time.perf_counter()
    device = device_of(device)
    # Each process draws its own random numbers; those of the first are the same as without other processes.
    scope = (seed, name, train.digest)
    with gathered(device) as workers, seeded(*scope, *([workers.rank] if workers.rank else [])), _tuned(device):
        job = _prepare(recipe, name, checkpoints, train.spec, device)
        identity = _identity(job, recipe, train, seed, device, workers)
        journal = Journal.of(out, job.weights, identity, every, budget)
        watcher = on_progress if workers.leads else None
        on_epoch = watch(name, job.defense, validation, recipe.validation_threat, device, watcher)
        # Channels last: the same numbers up to rounding, up to 1.7 times faster on a CPU.
        job.defense.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x, y = tensors(train, device)
        learned = _learn(job, x, y, recipe, on_epoch, journal)
    path = out / f"{job.weights}.safetensors"
    if not workers.leads:
        return path
    seconds = time.perf_counter() - began
    with seeded(seed, name, "judge"):
        # Rounded before the card's accuracies, which so belong to the weights in the file.
        in_half = rounded(job.network, job.defense, recipe, validation, seed, device) if recipe.half else None
        card = {
            "name": job.weights,
            "summary": SUMMARIES[training_of(name).training],
            "architecture": job.architecture,
            "recipe": asdict(replace(recipe, epochs=learned.epochs)),
            "data": _describe(train),
            **({"note": note} if note else {}),
            "parents": job.parents,
            "seed": seed,
            "command": command + (f" --set epochs={learned.epochs}" if learned.epochs != recipe.epochs else ""),
            "trained_on": recipe.trained_on,
            "stochastic": job.defense.stochastic,
            "standard_accuracy": standard_accuracy(job.defense, test or validation, device),
            "validation": quick_check(job.defense, recipe.validation_threat, validation, seed, device),
            "seconds": round(seconds, 1),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "device": device,
            "threads": torch.get_num_threads(),
            "processes": workers.count,
            **({"half": in_half} if in_half else {}),
            **({} if learned.finished else {"unfinished": {"done": learned.done, "of": learned.total}}),
        }
    files.write(path, job.network.state_dict(), card, half=recipe.half)
    if learned.finished:
        journal.close()
    return path


def _check_fits(recipe: Recipe, spec: ImageSpec) -> None:
    threat = getattr(recipe, "threat", "")
    refused = FAMILIES[ThreatModel.parse(threat).family].refuses(spec.shape) if threat else None
    if refused:
        raise BenchError(f"threat={threat!r}: {refused}; choose another one with --set threat=FAMILY:EPS")


def _identity(
    job: _Job, recipe: Recipe, train: LabelledImages, seed: int, device: str, workers: Workers
) -> dict[str, Any]:
    """Return everything on which the weights depend: a training with other facts is another training."""
    return {
        "recipe": asdict(recipe),
        "architecture": dict(job.architecture),
        "data": train.digest,
        "parents": dict(job.parents),
        "seed": seed,
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **({"processes": workers.count} if workers.count > 1 else {}),
    }


def _prepare(recipe: Recipe, name: str, checkpoints: Mapping[str, Path], spec: ImageSpec, device: str) -> _Job:
    if isinstance(recipe, ClassifierRecipe):
        if recipe.architecture not in by_name.CLASSIFIERS:
            raise unknown("classifier architecture", recipe.architecture, by_name.CLASSIFIERS)
        architecture = {"name": recipe.architecture, "width": recipe.width}
        model = by_name.build(architecture, spec).to(device)
        return _Job(name, architecture, model, Defense(model), {})
    standard, *pretrained = starts_from(name)
    classifier, _ = by_name.restore(standard, checkpoints, spec)
    parents = {standard: files.sha256(Path(checkpoints[standard]))}
    if isinstance(recipe, DiffusionRecipe | DiffusionFineTuningRecipe):
        if isinstance(recipe, DiffusionRecipe):
            architecture = diffpure.architecture(spec, recipe.width)
            denoiser, schedule = diffpure.build(architecture, spec)
        else:
            (before,) = pretrained
            denoiser, schedule, card = diffpure.restore(by_name.path_of(before, checkpoints), spec)
            architecture = card["architecture"]
            parents[before] = files.sha256(Path(checkpoints[before]))
        level, steps = recipe.t, recipe.denoising_steps
        defense = diffpure.defend(classifier.to(device), denoiser.to(device), schedule, t=level, steps=steps)
        return _Job(name, architecture, denoiser.network, defense, parents)
    if isinstance(recipe, PurifierRecipe):
        if recipe.architecture not in by_name.PURIFIERS:
            raise unknown("purifier architecture", recipe.architecture, by_name.PURIFIERS)
        architecture = {"name": recipe.architecture, "width": recipe.width}
        purifier = by_name.build(architecture, spec)
        rt, weights = "none", name
    else:
        (before,) = pretrained
        purifier, card = by_name.restore(before, checkpoints, spec)
        architecture = card["architecture"]
        parents[before] = files.sha256(Path(checkpoints[before]))
        rt, weights = recipe.rt, f"{name}-rt{recipe.rt}"
    transform = random_transform(rt)
    pipeline = Purified(transform, purifier, classifier).to(device).eval()
    return _Job(weights, architecture, purifier, Defense(pipeline, stochastic=transform.stochastic), parents)


def _learn(job: _Job, x: Tensor, y: Tensor, recipe: Recipe, on_epoch: OnEpoch, journal: Journal) -> Learned:
    if isinstance(recipe, ClassifierRecipe):
        return train_classifier(job.network, x, y, recipe, on_epoch, journal)
    if isinstance(recipe, PurifierRecipe):
        return train_purifier(job.network, x, y, recipe, on_epoch, journal)
    if isinstance(recipe, DiffusionRecipe):
        purifier = job.defense.purifier
        assert isinstance(purifier, Diffusion)  # noqa: S101  (for the type checker)
        return train_diffusion(
            purifier.denoiser, purifier.schedule, x, y, recipe, on_epoch, highest=recipe.highest, journal=journal
        )
    if isinstance(recipe, DiffusionFineTuningRecipe):
        purifier, classifier = job.defense.purifier, job.defense.base
        assert isinstance(purifier, Diffusion) and classifier is not None  # noqa: S101, PT018  (for the type checker)
        return fine_tune_diffusion(purifier, job.network, classifier, x, y, recipe, on_epoch, journal)
    assert isinstance(job.defense.model, Purified)  # noqa: S101  (for the type checker)
    return fine_tune(job.defense.model, x, y, recipe, on_epoch, journal)


@contextmanager
def _tuned(device: str) -> Iterator[None]:
    """Let cuDNN choose its kernels by timing them, which pays because all batches have one size."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.startswith("cuda")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _describe(examples: LabelledImages) -> dict[str, Any]:
    return {
        "dataset": examples.dataset,
        "split": examples.split,
        "digest": examples.digest,
        "n": len(examples.y),
    }
