"""Training of classifiers: standard, and adversarial with PGD (Madry et al., arXiv:1706.06083)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.training.craft import craft
from bench.defenses.training.loop import OnEpoch, fit
from bench.defenses.training.recipe import ClassifierRecipe
from bench.types import ThreatModel


def train_classifier(model: nn.Module, x: Tensor, y: Tensor, recipe: ClassifierRecipe, on_epoch: OnEpoch) -> None:
    """Train in place; the model is left in eval mode."""
    threat = ThreatModel.parse(recipe.threat) if recipe.steps else None

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        if threat is not None:
            # In eval mode, so that the batch statistics of half-made examples are not learned.
            model.eval()
            images = craft(model, images, labels, threat, steps=recipe.steps, step_size=recipe.step_size)
        model.train()
        loss = F.cross_entropy(model(images), labels)
        return loss, {"cross-entropy": loss}

    fit(model.parameters(), step, x, y, recipe, on_epoch)
    model.eval()
