"""The adversarial loss reaches the generator, and nothing else does."""

from __future__ import annotations

import copy

import pytest
import torch

from bench.defenses.networks.inpainter import GatedInpainter
from bench.defenses.networks.unet import UNet
from bench.defenses.purification import repaint
from bench.defenses.training.gan import Adversarial, pixel_loss, repaint_stages
from bench.defenses.transforms import TRANSFORMS

SHAPE = (1, 8, 8)


@pytest.fixture
def inpainter():
    torch.manual_seed(0)
    return GatedInpainter(SHAPE, 4)


@pytest.fixture
def adversarial():
    torch.manual_seed(1)
    return Adversarial(SHAPE, width=8, learning_rate=1e-3)


@pytest.fixture
def images():
    torch.manual_seed(2)
    return torch.rand(4, *SHAPE), (torch.rand(4, *SHAPE) < 0.3).float()


def held(module):
    return copy.deepcopy(module.state_dict())


def same(state, other):
    return all(torch.equal(state[key], other[key]) for key in state)


def test_the_adversarial_term_has_a_gradient_in_every_weight_of_the_generator(inpainter, adversarial, images):
    """In the authors' code it has none: there the term is a number without a way back."""
    x, mask = images

    adversarial.generator_loss(inpainter(x, mask), mask).backward()

    assert all(parameter.grad is not None and parameter.grad.any() for parameter in inpainter.parameters())


def test_a_step_along_the_adversarial_term_makes_paintings_look_more_real(inpainter, adversarial, images):
    """The sign is right: minimizing the term raises the discriminator's scores."""
    x, mask = images
    before = adversarial.generator_loss(inpainter(x, mask), mask)
    before.backward()

    with torch.no_grad():
        for parameter in inpainter.parameters():
            parameter.sub_(1e-3 * parameter.grad)

    assert adversarial.generator_loss(inpainter(x, mask), mask) < before


def test_the_generators_loss_leaves_the_discriminator_as_it_is(inpainter, adversarial, images):
    """No gradient is left in it, no buffer moves, and it is as trainable as before."""
    x, mask = images
    before = held(adversarial.discriminator)

    adversarial.generator_loss(inpainter(x, mask), mask).backward()

    assert same(before, held(adversarial.discriminator))
    assert all(parameter.grad is None for parameter in adversarial.discriminator.parameters())
    assert all(parameter.requires_grad for parameter in adversarial.discriminator.parameters())
    assert adversarial.discriminator.training


def test_a_step_of_the_discriminator_leaves_the_generator_alone(inpainter, adversarial, images):
    """Neither its weights nor its gradients change, even when paintings come attached to it."""
    x, mask = images
    painted = inpainter(x, mask)
    (painted - x).abs().mean().backward(retain_graph=True)
    weights = held(inpainter)
    gradients = [parameter.grad.clone() for parameter in inpainter.parameters()]
    learned = held(adversarial.discriminator)

    adversarial.learn(x, painted, mask)

    assert same(weights, held(inpainter))
    assert all(
        torch.equal(old, parameter.grad) for old, parameter in zip(gradients, inpainter.parameters(), strict=True)
    )
    assert not same(learned, held(adversarial.discriminator))


def test_the_discriminator_learns_to_tell_paintings_from_images(adversarial, images):
    """The hinge loss, about 1 where nothing is known, falls to half of it on two kinds of images."""
    _, mask = images
    real, painted = torch.rand(4, *SHAPE), torch.full((4, *SHAPE), 0.5)

    losses = [adversarial.learn(real, painted, mask).item() for _ in range(40)]

    assert losses[0] == pytest.approx(1, abs=0.2)
    assert losses[-1] < 0.5
    assert adversarial.generator_loss(painted, mask) > adversarial.generator_loss(real, mask)


def test_the_hinge_loss_is_that_of_the_source(adversarial, images):
    """Half the mean of what real patches lack to 1 and painted ones exceed -1 by."""
    x, mask = images
    painted = x.flip(0)
    judge = copy.deepcopy(adversarial.discriminator)
    real_scores, painted_scores = judge(torch.cat([x, painted]), torch.cat([mask, mask])).chunk(2)
    expected = 0.5 * ((1 - real_scores).clamp(min=0).mean() + (1 + painted_scores).clamp(min=0).mean())

    assert torch.allclose(adversarial.learn(x, painted, mask), expected.detach())


def test_a_training_goes_on_from_a_state_as_if_it_had_not_stopped(adversarial, images):
    """Weights, buffers of the spectral norm and moments of Adam are all in it."""
    x, mask = images
    adversarial.learn(x, x.flip(0), mask)
    state = copy.deepcopy(adversarial.state_dict())
    other = Adversarial(SHAPE, width=8, learning_rate=1e-3)

    other.load_state_dict(state)
    for each in (adversarial, other):
        for _ in range(3):
            each.learn(x, x.flip(0), mask)

    assert same(held(adversarial.discriminator), held(other.discriminator))
    assert torch.equal(adversarial.generator_loss(x, mask), other.generator_loss(x, mask))


@pytest.mark.parametrize("rt", sorted(TRANSFORMS))
def test_the_last_stage_is_what_the_defense_repaints(inpainter, rt, images):
    """Training sees the same purified images as the defense it trains."""
    covered = TRANSFORMS[rt](images[0])

    stages = repaint_stages(inpainter, covered)

    assert len(stages) == 2
    assert torch.equal(stages[-1], repaint(inpainter, covered))
    assert stages[0].shape == images[0].shape


def test_a_purifier_of_one_stage_has_one(images):
    """The U-Net is trained with the same loss."""
    x, _ = images
    unet, covered = UNet(1, 4), TRANSFORMS["3"](x)

    (painted,) = repaint_stages(unet, covered)

    assert torch.equal(painted, repaint(unet, covered))
    assert torch.equal(pixel_loss((painted,), x), (painted - x).abs().mean())


def test_the_pixel_loss_draws_both_stages_to_the_target():
    """It is the sum of the two distances, as in the paper."""
    target = torch.zeros(2, 1, 4, 4)

    loss = pixel_loss((torch.full_like(target, 0.25), torch.full_like(target, 0.5)), target)

    assert loss.item() == 0.75


def test_the_width_of_a_discriminator_is_that_of_the_recipe():
    """Small images need no wide one; without weight there is none at all."""
    x = torch.rand(2, 1, 8, 8)

    wide, narrow = (Adversarial.of(0.1, x, width) for width in (64, 8))

    def sizes(critic):
        return sum(parameter.numel() for parameter in critic.discriminator.parameters())

    assert sizes(narrow) < sizes(wide) / 8
    assert Adversarial.of(0.0, x, 8) is None
