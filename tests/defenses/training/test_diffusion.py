"""Training a denoiser: its loss is bounded by what is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.defenses.networks.denoiser import Diffusion
from bench.defenses.training.adversarial import craft
from bench.defenses.training.diffusion import fine_tune_diffusion, noise_loss, train_diffusion
from bench.defenses.training.recipe import DiffusionFineTuningRecipe, Optimization
from bench.threats import ThreatModel
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
        network,
        SCHEDULE,
        stripes,
        torch.zeros(256),
        settings,
        lambda done, total, parts, *_: losses.append(parts["noise"]),
    )

    assert losses[-1] < 0.7 * losses[0]
    assert not network.training


TUNING = DiffusionFineTuningRecipe(
    epochs=15,
    batch_size=32,
    learning_rate=2e-2,
    weight_decay=0.0,
    shift=0,
    flip=False,
    validation_threat="",
    threat="Linf:0.04",
    steps=3,
    step_size=0.5,
    classification_weight=10.0,
    t=0.05,
    denoising_steps=3,
)


def bright_or_dark():
    """Images that are one gray, and a classifier that reads nothing but a faint pattern in them."""
    torch.manual_seed(0)
    y = torch.arange(256) % 2
    pattern = 0.05 * torch.tensor([1.0, -1.0]).repeat(8).view(1, 1, 4, 4)
    x = 0.5 + pattern * (2 * y - 1).view(-1, 1, 1, 1)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        classifier[1].weight.copy_(200 * torch.stack([-pattern.flatten(), pattern.flatten()]))
        classifier[1].bias.zero_()
    return x.expand(256, 1, 4, 4).contiguous(), y, classifier


def lost(pipeline, x, y):
    """The cross-entropy under an attack through the whole process."""
    torch.manual_seed(3)
    attacked = craft(pipeline, x, y, ThreatModel.parse(TUNING.threat), steps=5, step_size=0.5)
    with torch.no_grad():
        return F.cross_entropy(pipeline(attacked), y).item()


def test_fine_tuning_through_the_process_makes_the_purifier_withstand_more():
    """The denoiser alone learns, from the classifier too; what it is judged by is the attack on everything."""
    x, y, classifier = bright_or_dark()
    frozen = [parameter.clone() for parameter in classifier.parameters()]
    before, after, learned = [], {}, {}
    for weight in (0.0, TUNING.classification_weight):
        torch.manual_seed(1)
        network = Tiny()
        purifier = Diffusion(network, SCHEDULE, t=TUNING.t, steps=TUNING.denoising_steps)
        pipeline = nn.Sequential(purifier, classifier)
        before.append(lost(pipeline, x, y))
        losses = []
        recipe = replace(TUNING, classification_weight=weight)
        fine_tune_diffusion(
            purifier, network, classifier, x, y, recipe, lambda done, total, parts, *_, seen=losses: seen.append(parts)
        )
        after[weight], learned[weight] = lost(pipeline, x, y), losses[-1]["cross-entropy"]
        assert set(losses[0]) == {"L1", "cross-entropy"}
        assert not any(parameter.requires_grad for parameter in pipeline.parameters())

    assert losses[-1]["cross-entropy"] < losses[0]["cross-entropy"]
    assert before[0] == before[1]
    assert after[TUNING.classification_weight] < 0.8 * before[1]
    # On the examples of the training; without its weight the cross-entropy is lowered by the pixel loss alone.
    assert learned[TUNING.classification_weight] < 0.9 * learned[0.0]
    assert all(torch.equal(*each) for each in zip(frozen, classifier.parameters(), strict=True))


def test_an_update_has_the_gradient_of_every_step_kept_or_computed_again():
    """One update with each: the same weights, and other ones than before."""
    x, y, classifier = bright_or_dark()
    ends = []
    for checkpointed in (True, False):
        torch.manual_seed(5)
        network = Tiny()
        begun = [parameter.clone() for parameter in network.parameters()]
        purifier = Diffusion(network, SCHEDULE, t=TUNING.t, steps=3)
        recipe = replace(TUNING, epochs=1, checkpointed=checkpointed)
        fine_tune_diffusion(purifier, network, classifier, x, y, recipe, lambda *_: None)
        ends.append([*network.parameters()])
        assert not any(torch.equal(*each) for each in zip(begun, ends[-1], strict=True))

    assert all(torch.equal(*each) for each in zip(*ends, strict=True))
