"""Training of a diffusion model, which learns to predict the noise in an image, and its adversarial fine-tuning.

The training follows algorithm 1 of Ho et al. (DDPM, NeurIPS 2020, arXiv:2006.11239). The fine-tuning is AToP's
(Lin et al., ICLR 2024, arXiv:2401.16352) for a purifier by diffusion: the cross-entropy of a frozen classifier is
minimized on images that were attacked through the whole process and purified by it, with the gradient of every
denoising step. ADDT (Liu et al., arXiv:2404.14309) brings perturbations guided by a classifier into the training of
the noise prediction instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.defenses.networks.denoiser import Diffusion, Schedule
from bench.defenses.training.adversarial import crafted
from bench.defenses.training.loop import Learned, OnEpoch, fit
from bench.defenses.training.recipe import DiffusionFineTuningRecipe, Optimization
from bench.defenses.training.resume import Journal


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
    """Train the denoiser in place on clean images and leave it in eval mode.

    Args:
        denoiser: maps noisy images and their levels to the noise, as from `bench.defenses.diffpure.build`.
        schedule: the noise levels.
        x: images `[n, C, H, W]` in [0, 1].
        y: labels, which are not used.
        settings: epochs, batch size and learning rate.
        on_epoch: called after every epoch.
        highest: the share of the levels to learn, from the lowest up. Purification goes only up to t*,
            and a network that learns no higher levels learns these sooner.
        journal: notes from which a killed training resumes.
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
    """Return the mean squared error of the predicted noise, each image at its own random level; a scalar.

    The expected error of a network that always predicts 0 is 1.
    """
    most = max(1, round(highest * schedule.levels))
    levels = torch.randint(1, most + 1, (len(x),), device=x.device)
    noise = torch.randn_like(x)
    predicted = denoiser(schedule.add_noise(2 * x - 1, levels, noise), levels - 1)
    return F.mse_loss(predicted, noise)


def fine_tune_diffusion(
    purifier: Diffusion,
    network: nn.Module,
    classifier: nn.Module,
    x: Tensor,
    y: Tensor,
    recipe: DiffusionFineTuningRecipe,
    on_epoch: OnEpoch,
    journal: Journal | None = None,
) -> Learned:
    """Train the network of a diffusion purifier in place; the classifier is frozen and in eval mode throughout.

    Args:
        purifier: the whole process, whose randomness is drawn anew in every forward.
        network: the part of its denoiser whose weights are trained.
        classifier: maps purified images to logits.
        x: images `[n, C, H, W]` in [0, 1].
        y: labels `[n]`.
        recipe: the hyper-parameters; those of the purification are the purifier's own already.
        on_epoch: called after every epoch.
        journal: notes from which a killed training resumes.
    """
    # Frozen by `requires_grad`, not by `no_grad`: the gradient has to pass through the classifier to the purifier.
    pipeline = nn.Sequential(purifier, classifier).eval()
    classifier.requires_grad_(False)
    network.requires_grad_(True)
    purifier.checkpointed = recipe.checkpointed

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        attacked = crafted(pipeline, images, labels, recipe)
        # Fresh noise: at evaluation, too, the defense draws anew after the attack.
        purified = purifier(attacked)
        pixels = (purified - images).abs().mean()
        classes = F.cross_entropy(classifier(purified), labels)
        return pixels + recipe.classification_weight * classes, {"L1": pixels, "cross-entropy": classes}

    learned = fit(network, step, x, y, recipe, on_epoch, journal=journal)
    network.requires_grad_(False)
    return learned
