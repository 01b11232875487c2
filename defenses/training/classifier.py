"""Training of classifiers: standard, adversarial with PGD (Madry et al., arXiv:1706.06083), and TRADES."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.training.craft import craft
from bench.defenses.training.journal import Journal
from bench.defenses.training.loop import Learned, OnEpoch, fit
from bench.defenses.training.recipe import ClassifierRecipe
from bench.types import ThreatModel

Losses = tuple[Tensor, Mapping[str, Tensor]]


def train_classifier(
    model: nn.Module, x: Tensor, y: Tensor, recipe: ClassifierRecipe, on_epoch: OnEpoch, journal: Journal | None = None
) -> Learned:
    """Train in place; the model is left in eval mode."""
    threat = ThreatModel.parse(recipe.threat)
    attack = partial(
        craft,
        model,
        threat=threat,
        steps=recipe.steps,
        step_size=recipe.step_size,
        random_start=recipe.random_start,
    )

    def madry(images: Tensor, labels: Tensor) -> Losses:
        if recipe.steps:
            # In eval mode, so that the batch statistics of half-made examples are not learned.
            model.eval()
            images = attack(images, labels)
        model.train()
        loss = F.cross_entropy(model(images), labels)
        return loss, {"cross-entropy": loss}

    def trades(images: Tensor, labels: Tensor) -> Losses:
        model.eval()
        with torch.no_grad():
            answers = F.softmax(model(images), dim=1)
        attacked = attack(
            images,
            labels,
            objective=lambda logits: F.kl_div(F.log_softmax(logits, dim=1), answers, reduction="sum"),
        )
        model.train()
        clean = model(images)
        loss = F.cross_entropy(clean, labels)
        moved = F.kl_div(F.log_softmax(model(attacked), dim=1), F.softmax(clean, dim=1), reduction="batchmean")
        return loss + recipe.beta * moved, {"cross-entropy": loss, "KL": moved}

    learned = fit(model, trades if recipe.loss == "trades" else madry, x, y, recipe, on_epoch, journal=journal)
    model.eval()
    return learned
