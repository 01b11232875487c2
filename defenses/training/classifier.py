"""Training of classifiers: standard, adversarial with PGD, and TRADES.

PGD training is that of Madry et al. (ICLR 2018, arXiv:1706.06083), TRADES that of Zhang et al. (ICML 2019,
arXiv:1901.08573).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.training.adversarial import craft
from bench.defenses.training.loop import Learned, OnEpoch, fit
from bench.defenses.training.recipe import ClassifierRecipe
from bench.defenses.training.resume import Journal
from bench.threats import ThreatModel

Losses = tuple[Tensor, Mapping[str, Tensor]]


def train_classifier(
    model: nn.Module, x: Tensor, y: Tensor, recipe: ClassifierRecipe, on_epoch: OnEpoch, journal: Journal | None = None
) -> Learned:
    """Train the model in place and leave it in eval mode."""
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
            # In eval mode, so that normalization does not learn the batch statistics of unfinished examples.
            model.eval()
            images = attack(images, labels)
        model.train()
        loss = F.cross_entropy(model(images), labels)
        return loss, {"cross-entropy": loss}

    def trades(images: Tensor, labels: Tensor) -> Losses:
        model.eval()
        # The inner maximization compares with fixed clean answers; the outer loss below moves both.
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
