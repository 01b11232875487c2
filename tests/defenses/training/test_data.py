"""Augmented images are the originals, moved or mirrored."""

from __future__ import annotations

import torch

from bench.defenses.training.data import flip, shift


def test_shifted_images_are_the_originals_moved():
    """Each image moves as a whole, on its own, by at most the given number of pixels."""
    torch.manual_seed(0)
    x = torch.zeros(64, 2, 9, 9)
    x[:, :, 4, 4] = 1

    moved = shift(x, 2)

    places = moved[:, 0].flatten(1).argmax(1)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved.sum((2, 3)), torch.ones(64, 2))
    assert set((places // 9).tolist()) == set((places % 9).tolist()) == {2, 3, 4, 5, 6}
    assert torch.equal(shift(x, 0), x)


def test_flipping_mirrors_about_half_of_the_images():
    """Mirrored left to right, never upside down."""
    torch.manual_seed(0)
    x = torch.rand(400, 1, 4, 4)

    flipped = flip(x)

    same = (flipped == x).flatten(1).all(1)
    assert 0.4 < same.float().mean() < 0.6
    assert torch.equal(flipped[~same], x[~same].flip(3))
