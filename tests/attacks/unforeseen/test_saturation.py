"""Saturation moves a pixel towards its largest channel, or away from it."""

import pytest
import torch

from bench.attacks.unforeseen import saturation


def everywhere(n, *shape, seed=0):
    """Images that touch both ends of the box, with a black, a gray and a white pixel each."""
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)).mul(1.2).sub(0.1).clamp(0, 1)
    for column, value in enumerate((0.0, 0.5, 1.0)):
        x[:, :, 0, column] = value
    return x


@pytest.fixture
def x():
    return everywhere(3, 3, 9, 7)


def test_no_saturation_is_gray_and_gray_has_none(x):
    """Without saturation a pixel takes its largest channel; a gray pixel is the same at any factor."""
    pale, paler = (saturation.render(x, torch.full((3, 1), change)) for change in (-1.0, -1.6))
    strong = saturation.render(x, torch.full((3, 1), 5.0))

    assert torch.allclose(pale, x.amax(1, keepdim=True).expand_as(x), atol=1e-6)
    assert torch.equal(paler, pale)
    assert torch.equal(strong[:, :, 0, :3], x[:, :, 0, :3])
    assert torch.allclose(strong.amax(1), x.amax(1), atol=1e-6)
    assert (strong.amin(1)[:, 1:] < x.amin(1)[:, 1:] + 1e-6).all()
