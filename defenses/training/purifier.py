"""Pre-training of a purifier (AP in Lin et al., arXiv:2401.16352): it repaints covered images and sees no attack."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.defenses.training.gan import Adversarial, pixel_loss, repaint_stages
from bench.defenses.training.loop import Learned, OnEpoch, fit
from bench.defenses.training.recipe import PurifierRecipe
from bench.defenses.training.resume import Journal
from bench.defenses.transforms import Covered, RandomTransform

WHOLE = 0.5  # the share of inputs without a mask: the inputs of a purifier without random transform


def train_purifier(
    purifier: nn.Module, x: Tensor, y: Tensor, recipe: PurifierRecipe, on_epoch: OnEpoch, journal: Journal | None = None
) -> Learned:
    """Train a purifier in place on the L1 distance between the repainted and the clean image, at every stage."""
    cover = RandomTransform(masks=1, missing_rate=recipe.missing_rate)
    critic = Adversarial.of(recipe.gan_weight, x, recipe.gan_width)

    def step(images: Tensor, _: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        purifier.train()
        noisy, mask = corrupt(images, recipe.noise, cover)
        stages = repaint_stages(purifier, Covered(noisy, mask[None]))
        pixels = pixel_loss(stages, images)
        if critic is None:
            return pixels, {"L1": pixels}
        hinge = critic.learn(images, stages[-1], mask)
        fooled = critic.generator_loss(stages[-1], mask)
        return pixels + recipe.gan_weight * fooled, {"L1": pixels, "hinge": hinge}

    beside = {"critic": critic} if critic else None
    learned = fit(purifier, step, x, y, recipe, on_epoch, journal=journal, beside=beside)
    purifier.eval()
    return learned


def corrupt(x: Tensor, noise: float, cover: RandomTransform) -> tuple[Tensor, Tensor]:
    """Add Gaussian noise of a random strength up to `noise` to each image, and draw masks for a part of them.

    Returns:
        The noisy images `[B, C, H, W]` in [0, 1], and the masks `[B, 1, H, W]`.
    """
    strength = noise * torch.rand(len(x), 1, 1, 1, device=x.device)
    noisy = (x + strength * torch.randn_like(x)).clamp(0, 1)
    covered = (torch.rand(len(x), 1, 1, 1, device=x.device) >= WHOLE).to(x.dtype)
    return noisy, cover(x).masks[0] * covered
