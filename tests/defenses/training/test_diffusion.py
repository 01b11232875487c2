"""Training a denoiser: its loss is bounded by what is known."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.training.diffusion import noise_loss, train_diffusion
from bench.defenses.training.recipe import Optimization
from tests.defenses.networks.denoisers import SCHEDULE, Ideal, Tiny


def test_a_network_that_says_nothing_has_a_loss_of_one():
    """The loss is the mean squared error of standard normal noise."""
    torch.manual_seed(0)

    loss = noise_loss(lambda image, times: torch.zeros_like(image), SCHEDULE, torch.rand(500, 1, 8, 8))

    assert loss.item() == pytest.approx(1, abs=0.03)


def test_the_ideal_denoiser_has_the_least_loss():
    """Levels and times fit together in training as they do in purification."""
    x = (1 + 0.6 * torch.randn(2000, 1, 4, 4, generator=torch.Generator().manual_seed(0))) / 2
    losses = []
    for deviation in (0.6, 0.4, 0.9):
        torch.manual_seed(0)
        losses.append(noise_loss(Ideal(deviation), SCHEDULE, x).item())

    assert losses[0] == min(losses)


def test_the_share_of_levels_bounds_what_is_learned():
    """With `highest` at t* the network is asked about no level above it."""
    asked = []

    def spy(image, times):
        asked.append(times)
        return image

    for _ in range(20):
        noise_loss(spy, SCHEDULE, torch.rand(50, 1, 2, 2), highest=0.1)

    assert torch.cat(asked).min() == 0
    assert torch.cat(asked).max() == 99


def test_training_lowers_the_loss_and_leaves_the_network_in_eval_mode():
    """Half a second of learning on stripes does better than to answer 0."""
    torch.manual_seed(0)
    stripes = torch.tensor([0.0, 1.0]).repeat(4).view(1, 1, 1, 8).expand(256, 1, 8, 8).contiguous()
    network = Tiny()
    losses = []
    settings = Optimization(
        epochs=12, batch_size=32, learning_rate=1e-2, weight_decay=0.0, shift=0, flip=False, validation_threat=""
    )

    train_diffusion(
        network, SCHEDULE, stripes, torch.zeros(256), settings, lambda done, total, parts: losses.append(parts["noise"])
    )

    assert losses[-1] < 0.7 * losses[0]
    assert not network.training
