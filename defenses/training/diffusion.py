"""Training of a diffusion model: it learns to tell the noise in an image (arXiv:2006.11239, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.purifiers.diffusion import Schedule
from bench.defenses.training.journal import Journal
from bench.defenses.training.loop import Learned, OnEpoch, fit
from bench.defenses.training.recipe import Optimization


def train_diffusion(
    denoiser: nn.Module,
    schedule: Schedule,
    x: Tensor,
    y: Tensor,
    settings: Optimization,
    on_epoch: OnEpoch,
    *,
    highest: float = 1.0,
    journal: Journal | None = None,
) -> Learned:
    """Train in place on clean images; the network is left in eval mode.

    Args:
        denoiser: maps noisy images and their levels to the noise, as `bench.defenses.diffusion.build` makes it.
        schedule: the noise levels.
        x: images `[n, C, H, W]` in [0, 1].
        y: labels, which are not looked at.
        settings: epochs, batch size and learning rate.
        on_epoch: called after every epoch.
        highest: the share of the levels to learn, from the lowest up. Purification goes up to t* alone,
            and a network that learns no more than that learns it sooner.
        journal: where progress is noted and taken up again.
    """

    def step(images: Tensor, _: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        denoiser.train()
        loss = noise_loss(denoiser, schedule, images, highest)
        return loss, {"noise": loss}

    denoiser.requires_grad_(True)
    learned = fit(denoiser, step, x, y, settings, on_epoch, journal=journal)
    denoiser.eval()
    return learned


def noise_loss(denoiser: nn.Module, schedule: Schedule, x: Tensor, highest: float = 1.0) -> Tensor:
    """The mean squared error of the predicted noise, each image at a random level of its own; a scalar.

    It is 1 for a network that always answers 0.
    """
    most = max(1, round(highest * schedule.levels))
    levels = torch.randint(1, most + 1, (len(x),), device=x.device)
    noise = torch.randn_like(x)
    predicted = denoiser(schedule.add_noise(2 * x - 1, levels, noise), levels - 1)
    return F.mse_loss(predicted, noise)
