"""Which images are nearer to another: the same answer as measuring every pair."""

import pytest
import torch

from bench.harness.nearness import candidates, nearer_elsewhere
from bench.oracle.geometry import distance


def by_every_pair(x_adv, own, images, family):
    far = torch.stack([distance(x_adv, image.expand_as(x_adv), family) for image in images], 1)
    return int((far.amin(1) < own - 1e-6).sum())


@pytest.mark.parametrize("family", ["Linf", "L2", "L1"])
def test_the_count_is_that_of_every_pair(family):
    """With shifts of every size: most images keep to their own, and some do not."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(90, 1, 3, 3, generator=generator)
    size = torch.linspace(0, 0.9, 90)[:, None, None, None]
    x_adv = (images + size * (2 * torch.rand(images.shape, generator=generator) - 1)).clamp(0, 1)
    own = distance(x_adv, images, family)

    found = nearer_elsewhere(x_adv, own, images, family)

    assert found == by_every_pair(x_adv, own, images, family)
    assert 5 < found < 85


def test_an_image_that_is_there_twice_is_not_elsewhere():
    images = torch.rand(2, 1, 4, 4).repeat(2, 1, 1, 1)

    assert nearer_elsewhere(images, torch.zeros(4, dtype=torch.float64), images, "Linf") == 0


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 160, 160)])
def test_no_image_within_reach_is_left_out(shape):
    """In float32 a distance of zero is the difference of two large numbers; the images differ in one rounding."""
    images = 0.9 + 0.1 * torch.rand(60, *shape)
    moved = images.clone().flatten(1)
    moved[:, 0] += 1e-6

    found = dict(candidates(moved.view_as(images), images, torch.full((60,), 1e-6)))

    assert sorted(found) == list(range(60))
    assert all(bool(mask[row]) for row, mask in found.items())
