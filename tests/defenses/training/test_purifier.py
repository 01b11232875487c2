"""What a purifier is pre-trained on."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.training.purifier import corrupt
from bench.defenses.transforms import TRANSFORMS


def test_pre_training_hides_a_quarter_of_half_of_the_inputs_and_adds_noise_of_many_strengths():
    """Half of the inputs are whole, as a purifier without transform sees them; no noise beyond the limit."""
    torch.manual_seed(0)
    x = torch.full((2000, 1, 8, 8), 0.5)

    noisy, mask = corrupt(x, 0.1, TRANSFORMS["1"])

    share = mask.flatten(1).mean(1)
    strength = (noisy - x).flatten(1).std(1)
    assert set(share.tolist()) == {0.0, 0.25}
    assert 0.45 < (share == 0).float().mean() < 0.55
    assert strength.min() < 0.01
    assert 0.09 < strength.max() < 0.13
    assert strength.mean().item() == pytest.approx(0.05, rel=0.1)
