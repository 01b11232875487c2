"""Adversarial fine-tuning of the purifier: the second half of AToP.

Lin et al., ICLR 2024, arXiv:2401.16352, section 3.2. The paper minimizes a pixel loss plus lambda times the
cross-entropy of the frozen classifier on purified adversarial examples. The recipe `atop-paper` follows the
authors' code: FGSM on the classifier alone, and a pixel loss between the purified and the adversarial image.
The recipe `atop` differs in both, because adaptive attacks judge the defense here: its examples are crafted
through the whole pipeline, transform included, and its pixel loss compares with the clean image.
`atop-clean` is the ablation without adversarial examples.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from bench.defenses.purification import Purified
from bench.defenses.training.adversarial import crafted
from bench.defenses.training.gan import Adversarial, pixel_loss, repaint_stages
from bench.defenses.training.loop import Learned, OnEpoch, fit
from bench.defenses.training.recipe import FineTuningRecipe
from bench.defenses.training.resume import Journal


def fine_tune(
    pipeline: Purified,
    x: Tensor,
    y: Tensor,
    recipe: FineTuningRecipe,
    on_epoch: OnEpoch,
    journal: Journal | None = None,
) -> Learned:
    """Train `pipeline.purifier` in place; the classifier is frozen and in eval mode throughout."""
    # Frozen by `requires_grad`, not by `no_grad`: the gradient has to pass through the classifier to the purifier.
    pipeline.eval().classifier.requires_grad_(False)
    pipeline.purifier.requires_grad_(True)
    critic = Adversarial.of(recipe.gan_weight, x, recipe.gan_width)
    victim = pipeline if recipe.attacked == "pipeline" else pipeline.classifier

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        attacked = crafted(victim, images, labels, recipe)
        # A fresh draw of the transform: at evaluation, too, the defense draws anew after the attack.
        covered = pipeline.transform(attacked)
        stages = repaint_stages(pipeline.purifier, covered)
        target = images if recipe.target == "clean" else attacked
        pixels = pixel_loss(stages, target)
        classes = F.cross_entropy(pipeline.classifier(stages[-1]), labels)
        loss, parts = pixels + recipe.classification_weight * classes, {"L1": pixels, "cross-entropy": classes}
        if critic is None:
            return loss, parts
        mask = covered.masks.sum(0)
        hinge = critic.learn(target, stages[-1], mask)
        return loss + recipe.gan_weight * critic.generator_loss(stages[-1], mask), {**parts, "hinge": hinge}

    beside = {"critic": critic} if critic else None
    return fit(pipeline.purifier, step, x, y, recipe, on_epoch, journal=journal, beside=beside)
