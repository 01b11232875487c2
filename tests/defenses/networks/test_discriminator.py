"""The discriminator: its spectral norms, and its patches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.defenses.networks.discriminator import PatchDiscriminator


def test_every_layer_of_the_discriminator_has_a_spectral_norm_of_one():
    """As a matrix from inputs to outputs; the iteration that estimates it converges in a few forwards."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator((3, 32, 32), 8).train()
    for _ in range(30):
        discriminator(torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))

    weights = [layer.weight for layer in discriminator.eval().modules() if isinstance(layer, nn.Conv2d)]

    assert len(weights) == 5
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 33, 35)])
def test_the_discriminator_judges_patches_each_image_for_itself(shape):
    """Alone or in a batch: the score is the image's own."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(shape, 4).eval()
    x, mask = torch.rand(3, *shape), torch.zeros(3, 1, *shape[1:])

    together = discriminator(x, mask)

    assert together.shape[0] == 3
    assert together.shape[1] >= 16
    assert torch.allclose(together[:1], discriminator(x[:1], mask[:1]), atol=1e-5)
