"""Purification by diffusion: the process is the one of the papers, and its gradient is the whole one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from bench.defenses.networks.denoiser import Diffusion, descent
from bench.oracle.variants import Frozen
from tests.defenses.networks.denoisers import SCHEDULE, Ideal, Tiny


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    return Tiny().double()


def purified(diffusion, x, seed=0):
    torch.manual_seed(seed)
    return diffusion(x)


def test_the_schedule_is_the_product_of_what_each_level_keeps():
    """The linear betas of DDPM: 1e-4 at the first level, 0.02 at the last, nearly nothing kept there."""
    assert SCHEDULE.levels == 1000
    assert SCHEDULE.at(0) == 1
    assert SCHEDULE.at(1) == pytest.approx(1 - 1e-4)
    assert SCHEDULE.at(2) / SCHEDULE.at(1) == pytest.approx(1 - 1e-4 - (0.02 - 1e-4) / 999)
    assert SCHEDULE.at(1000) == pytest.approx(4.036e-5, rel=1e-3)


@pytest.mark.parametrize("level", [1, 100, 1000])
def test_noised_images_have_the_mean_and_the_variance_of_the_closed_form(level):
    """What level by level noise amounts to: a mean of sqrt(kept) x and a variance of 1 - kept."""
    torch.manual_seed(0)
    x = torch.tensor([-1.0, -0.2, 0.7]).view(1, 1, 1, 3).expand(20_000, 1, 1, 3)

    noised = SCHEDULE.add_noise(x, level, torch.randn_like(x))

    kept = math.prod(1 - beta for beta in torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist()[:level])
    assert torch.allclose(noised.mean(0), math.sqrt(kept) * x[0], atol=5 * math.sqrt((1 - kept) / 20_000))
    assert torch.allclose(noised.var(0), torch.full((1, 1, 3), 1 - kept), rtol=0.05)


def test_levels_of_their_own_noise_each_image_as_one_level_does():
    """Training noises images at many levels at once, purification all at one: it is the same process."""
    x, noise, levels = torch.rand(3, 1, 2, 2), torch.randn(3, 1, 2, 2), torch.tensor([0, 7, 1000])

    together = SCHEDULE.add_noise(x, levels, noise)

    for i, level in enumerate(levels.tolist()):
        assert torch.allclose(together[i], SCHEDULE.add_noise(x[i], level, noise[i]), atol=1e-6)


def test_without_noise_images_stay_as_they_are(denoiser):
    """t* = 0 is the identity, to the bit, and draws nothing."""
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    state = torch.get_rng_state()

    assert torch.equal(Diffusion(denoiser, SCHEDULE, t=0, steps=10)(x), x)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_smallest_noise_changes_images_by_as_little(denoiser):
    """t* = 0.001 is one level, of noise with a standard deviation of 0.01 in [-1, 1]."""
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64)

    assert (purified(Diffusion(denoiser, SCHEDULE, t=0.001, steps=10), x) - x).abs().max() < 0.05


@pytest.mark.parametrize(
    ("top", "steps", "levels"),
    [
        (4, 4, (4, 3, 2, 1, 0)),
        (100, 4, (100, 75, 50, 25, 0)),
        (3, 10, (3, 2, 1, 0)),
        (10, 3, (10, 7, 3, 0)),
        (0, 5, (0,)),
    ],
)
def test_the_way_down_is_even_and_ends_at_the_image(top, steps, levels):
    """Never more steps than levels, and never a level twice."""
    assert descent(top, steps) == levels


@pytest.mark.parametrize(("level", "lower"), [(500, 499), (100, 60), (10, 0), (1, 0)])
def test_a_reverse_step_draws_from_the_posterior(level, lower):
    """Told the noise that was added, the step has the mean and variance of DDPM's equation 7."""
    torch.manual_seed(0)
    kept, target = SCHEDULE.at(level), SCHEDULE.at(lower)
    share = kept / target
    clean, noise = torch.rand(1, 1, 1, 1, dtype=torch.float64), torch.randn(1, 1, 1, 1, dtype=torch.float64)
    noised = SCHEDULE.add_noise(clean, level, noise)
    draws = torch.randn(50_000, 1, 1, 1, dtype=torch.float64)

    reached = SCHEDULE.remove_noise(noised, noise, draws, level, lower)

    mean = (math.sqrt(target) * (1 - share) * clean + math.sqrt(share) * (1 - target) * noised) / (1 - kept)
    variance = (1 - target) / (1 - kept) * (1 - share)
    assert torch.allclose(SCHEDULE.remove_noise(noised, noise, torch.zeros_like(clean), level, lower), mean)
    assert reached.var().item() == pytest.approx(variance, rel=0.03, abs=1e-12)


@pytest.mark.parametrize(("steps", "lost"), [(20, 0.04), (200, 0.01)])
def test_the_ideal_denoiser_gives_back_the_distribution_of_the_images(steps, lost):
    """Noised far and denoised, normal images are as bright and, the more steps, as varied as before."""
    torch.manual_seed(0)
    x = (1 + 0.6 * torch.randn(4000, 1, 2, 2, dtype=torch.float64)) / 2
    diffusion = Diffusion(Ideal(0.6), SCHEDULE, t=0.5, steps=steps)

    result = purified(diffusion, x)

    assert result.mean().item() == pytest.approx(0.5, abs=0.01)
    # The posterior's variance is a lower bound of the reverse step's, and the lower the wider the step.
    assert 0.3 - lost < result.std().item() < 0.305
    assert torch.corrcoef(torch.stack([x.flatten(), result.flatten()]))[0, 1].abs() < 0.5


def test_the_network_is_asked_about_the_level_that_the_image_is_at():
    """Times begin at 0 where levels begin at 1: level 1000 is time 999, as in training."""
    asked = []

    def spy(image, times):
        asked.append(times.tolist())
        return torch.zeros_like(image)

    with torch.no_grad():
        Diffusion(spy, SCHEDULE, t=1, steps=4)(torch.rand(2, 1, 2, 2))

    assert asked == [[999, 999], [749, 749], [499, 499], [249, 249]]


@pytest.mark.parametrize("checkpointed", [True, False])
def test_the_gradient_is_that_of_the_whole_process(denoiser, checkpointed):
    """Finite differences with the noise held fixed, in float64, through every step."""
    diffusion = Diffusion(denoiser, SCHEDULE, t=0.3, steps=5, checkpointed=checkpointed)
    x = torch.rand(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda image: purified(diffusion, image), x, eps=1e-6, atol=1e-7)


def test_computing_steps_again_changes_neither_the_images_nor_the_gradient(denoiser):
    """To the bit: the second time a step sees the noise it saw the first time."""
    found = []
    for checkpointed in (True, False):
        x = torch.full((2, 1, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
        diffusion = Diffusion(denoiser, SCHEDULE, t=0.2, steps=7, checkpointed=checkpointed)
        result = purified(diffusion, x)
        (gradient,) = torch.autograd.grad(result.square().sum(), x)
        found.append((result, gradient, torch.rand(1)))

    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert found[0][1].any()


def test_memory_grows_by_two_images_a_step(denoiser):
    """What is kept for the way back: where a step began and its noise, not the network's activations."""

    def kept(steps, checkpointed=True):
        x = torch.rand(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
        sizes = {}

        def pack(tensor):
            if not isinstance(tensor, nn.Parameter):
                sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            result = purified(Diffusion(denoiser, SCHEDULE, t=0.3, steps=steps, checkpointed=checkpointed), x)
        assert result.requires_grad
        return sum(sizes.values()) / x.numel()

    assert kept(30) - kept(10) <= 2 * 20
    assert kept(30, checkpointed=False) - kept(10, checkpointed=False) > 5 * 20


def test_randomness_is_that_of_the_global_generator_and_new_in_every_forward(denoiser):
    """A harness that seeds torch gets the same answer again, and two forwards in a row differ."""
    diffusion, x = Diffusion(denoiser, SCHEDULE, t=0.1, steps=3), torch.rand(2, 1, 4, 4, dtype=torch.float64)

    first = purified(diffusion, x)

    assert not torch.equal(first, diffusion(x))
    assert torch.equal(first, purified(diffusion, x))
    assert not torch.allclose(first[0] - x[0], first[1] - x[1])  # each image has noise of its own


def test_an_image_is_purified_for_itself(denoiser):
    """With the noise it meets held fixed, an image alone and in a batch come out the same."""
    x = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    diffusion = Diffusion(denoiser, SCHEDULE, t=0.3, steps=6)
    frozen = Frozen(diffusion)
    still = Diffusion(denoiser, SCHEDULE, t=0.3, steps=6, draw=torch.zeros_like)

    assert torch.equal(frozen(x)[1:2], frozen(x[1:2]))
    assert torch.allclose(still(x)[1:2], still(x[1:2]), atol=1e-12)
    assert torch.equal(still(x), still(x))
