"""Hue turns the color circle."""

import math

import pytest
import torch

from bench.attacks.unforeseen import hue


def everywhere(n, *shape, seed=0):
    """Images that touch both ends of the box, with a black, a gray and a white pixel each."""
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)).mul(1.2).sub(0.1).clamp(0, 1)
    for column, value in enumerate((0.0, 0.5, 1.0)):
        x[:, :, 0, column] = value
    return x


@pytest.fixture
def x():
    return everywhere(3, 3, 9, 7)


def test_a_third_of_a_turn_is_red_to_green_and_a_full_turn_nothing(x):
    """Channels change places every third of a turn; gray pixels never move."""
    third = hue.render(x, torch.full((3, 1), 2 * math.pi / 3))
    back = hue.render(x, torch.full((3, 1), -2 * math.pi / 3))
    full = hue.render(x, torch.full((3, 1), 2 * math.pi))
    half = hue.render(x, torch.full((3, 1), math.pi))

    assert torch.allclose(third, x.roll(1, 1), atol=2e-6)
    assert torch.allclose(back, x.roll(-1, 1), atol=2e-6)
    assert torch.allclose(full, x, atol=2e-6)
    assert torch.allclose(half, x.amax(1, keepdim=True) + x.amin(1, keepdim=True) - x, atol=2e-6)
    assert torch.equal(half[:, :, 0, :3], x[:, :, 0, :3])
