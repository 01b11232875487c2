"""Brightness adds one number to every value."""

import pytest
import torch

from bench.attacks.unforeseen import brightness


def test_brightness_adds():
    """The same number to every value, cut off at 0 and 1."""
    x = torch.tensor([0.1, 0.5, 0.9]).view(1, 1, 1, 3)

    brighter, darker = (brightness.render(x, torch.tensor([[change]])) for change in (0.25, -0.25))

    assert brighter.flatten().tolist() == pytest.approx([0.35, 0.75, 1.0])
    assert darker.flatten().tolist() == pytest.approx([0.0, 0.25, 0.65])
