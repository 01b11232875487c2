"""Contrast scales around the mean of an image."""

import pytest
import torch

from bench.attacks.unforeseen import contrast


def test_contrast_scales_around_the_mean_and_never_inverts():
    """Half the distance from the mean, no distance at all, twice the distance cut off at the box."""
    x = torch.tensor([0.2, 0.4, 0.9]).view(1, 1, 1, 3)

    half, none, less_than_none, twice = (
        contrast.render(x, torch.tensor([[change]])).flatten().tolist() for change in (-0.5, -1.0, -1.7, 1.0)
    )

    assert half == pytest.approx([0.35, 0.45, 0.7])
    assert none == less_than_none == pytest.approx([0.5, 0.5, 0.5])
    assert twice == pytest.approx([0.0, 0.3, 1.0])
