"""Perspective warps: against kornia, and at the horizon."""

import pytest
import torch
import torch.nn.functional as F

from bench.attacks.unforeseen import affine, perspective


@pytest.fixture
def x():
    return torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def change():
    """A random change of any shape."""

    def draw(*shape, size=0.2, seed=1):
        return size * (2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1)

    return draw


def test_kornia_agrees_on_a_perspective_warp(x, change):
    """Another implementation, which takes the inverse matrix between coordinates of pixels."""
    kornia = pytest.importorskip("kornia")
    entries = change(3, 8, size=0.15)
    matrix = torch.eye(3) + F.pad(entries, (0, 1)).view(3, 3, 3)
    # From pixels counted from the center of the first to units of half an image, whose edges are at -1 and 1.
    units = torch.tensor([[2 / 12, 0, 1 / 12 - 1], [0, 2 / 8, 1 / 8 - 1], [0, 0, 1]])
    to_output = torch.linalg.inv(torch.linalg.inv(units) @ matrix @ units)

    warped = perspective.render(x, entries)

    expected = kornia.geometry.transform.warp_perspective(
        x, to_output, (8, 12), padding_mode="border", align_corners=True
    )
    assert torch.allclose(warped, expected, atol=1e-4)


def test_without_its_last_entries_a_perspective_warp_is_affine(x, change):
    """The two entries of the last row make the difference."""
    entries = change(3, 8)
    flat = entries.clone()
    flat[:, 6:] = 0

    straight, slanted = perspective.render(x, flat), perspective.render(x, entries)

    assert torch.equal(straight, affine.render(x, entries[:, :6].view(3, 2, 3)))
    assert not torch.allclose(slanted, straight, atol=1e-2)


def test_beyond_the_horizon_there_is_still_an_image(x):
    """A denominator that is zero or negative is no division by zero."""
    entries = torch.full((3, 8), 0.9, requires_grad=True)

    warped = perspective.render(x, entries)
    warped.sum().backward()

    assert torch.isfinite(warped).all()
    assert warped.min() >= 0
    assert warped.max() <= 1
    assert torch.isfinite(entries.grad).all()


def test_on_the_horizon_there_is_still_an_image():
    """A pixel at -1/4 with an entry of 4: the denominator is exactly zero."""
    x = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    entries = torch.tensor([[0.0, 0, 0, 0, 0, 0, 4, 0]], requires_grad=True)

    warped = perspective.render(x, entries)
    warped.sum().backward()

    assert torch.isfinite(warped).all()
    assert torch.isfinite(entries.grad).all()
