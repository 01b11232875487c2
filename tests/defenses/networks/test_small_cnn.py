"""The small network: its size in closed form, and what it makes of the range of images."""

import pytest
import torch
from torch import nn

from bench.defenses.networks.small_cnn import SmallCNN


@pytest.mark.parametrize(("channels", "classes", "width"), [(1, 10, 16), (3, 10, 8), (3, 4, 1)])
def test_its_size_follows_from_channels_classes_and_width(channels, classes, width):
    """Four 3x3 convolutions without bias, two numbers per normalized channel, and a head."""
    pairs = [(channels, width), (width, 2 * width), (2 * width, 2 * width), (2 * width, 4 * width)]
    expected = sum(9 * one * other + 2 * other for one, other in pairs) + classes * (4 * width + 1)

    model = SmallCNN(channels, classes, width)

    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_the_middle_of_the_range_is_nought_to_it():
    """Gray images excite no convolution: what is left is what the normalizations and the head add by themselves."""
    model = SmallCNN(1, 10, 4).eval()
    gray = torch.full((2, 1, 8, 8), 0.5)

    seen = model.features[0](2 * gray - 1)
    logits = model(gray)

    assert not seen.any()
    torch.testing.assert_close(logits, model.head.bias.expand(2, 10))


def test_a_half_of_the_size_is_averaged_over_and_any_size_will_do():
    """One of the four convolutions halves height and width, rounding up."""
    model, sizes = SmallCNN(1, 10, 2).eval(), []
    (pool,) = (layer for layer in model.features if isinstance(layer, nn.AdaptiveAvgPool2d))
    pool.register_forward_pre_hook(lambda layer, given: sizes.append(tuple(given[0].shape[-2:])))

    for shape in ((8, 8), (13, 7), (1, 1)):
        model(torch.rand(1, 1, *shape))

    assert sizes == [(4, 4), (7, 4), (1, 1)]
