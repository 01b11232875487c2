"""The masked autoencoder: its patches, its positions, its sight."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.networks.autoencoder import MaskedAutoencoder, _sight, waves
from bench.defenses.transforms import RandomTransform
from bench.types import ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)


def batch(spec, size=3):
    """Images under masks of their own, of which the first covers nothing and the last everything."""
    torch.manual_seed(1)
    x = torch.rand(size, *spec.shape)
    masks = RandomTransform(masks=1)(x).masks[0]
    masks[0], masks[-1] = 0, 1
    return x, masks


@pytest.mark.parametrize("width", [1, 3, 6, 30])
def test_the_autoencoder_takes_any_width(width):
    """Heads and waves fit themselves to widths that four does not divide."""
    x, mask = batch(DIGITS)

    assert MaskedAutoencoder(DIGITS.shape, width)(x, mask).shape == x.shape


def test_the_encoder_answers_for_visible_patches_as_if_the_covered_ones_were_not_there():
    """Attention that hides patches and a sequence without them are the same to rounding."""
    torch.manual_seed(0)
    block = MaskedAutoencoder(DIGITS.shape).encoder[0]
    tokens, visible = torch.randn(1, 16, 32), torch.rand(1, 16) < 0.5

    hidden = block(tokens, _sight(visible))[visible]
    removed = block(tokens[visible][None], None)[0]

    assert torch.allclose(hidden, removed, atol=1e-5)


def test_every_patch_has_something_to_look_at():
    """Attention to nothing is NaN, and an image can be covered from edge to edge."""
    assert _sight(torch.zeros(2, 64, dtype=torch.bool)).any(dim=-1).all()


def test_patches_of_the_autoencoder_cut_and_join_to_the_image():
    """No pixel is lost, moved or mixed up among channels."""
    autoencoder = MaskedAutoencoder((3, 16, 24), 8)  # patches of 2x3 pixels
    x = torch.rand(2, 3, 16, 24)

    patches = autoencoder._cut(x, (8, 8))

    assert patches.shape == (2, 64, 3 * 2 * 3)
    assert torch.equal(autoencoder._join(patches, (8, 8)), x)
    assert torch.equal(patches[0, 9].view(3, 2, 3), x[0, :, 2:4, 3:6])


def test_a_position_has_waves_of_its_own():
    """No two patches of a grid are at the same place to the transformer."""
    places = waves(7, 9, 32)

    assert places.shape == (63, 32)
    assert torch.cdist(places, places).fill_diagonal_(1).min() > 0.05
