"""Pre-activation networks: what a block passes on, and the depth of the wide ones."""

import pytest
import torch
from torch import nn

from bench.defenses.networks.preact_resnet import PreActBlock, PreActResNet


def test_a_block_whose_residual_is_nought_passes_everything_on():
    """What is negative, too: there is no activation behind the sum."""
    block = PreActBlock(4, 4, 1).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6)

    assert block.shortcut is None
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("inputs", "stride"), [(3, 1), (4, 2)])
def test_a_shortcut_that_changes_the_shape_takes_what_was_normalized(inputs, stride):
    block = PreActBlock(inputs, 4, stride).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, inputs, 7, 6)

    found = block(x)

    assert torch.equal(found, block.shortcut(block.norm1(x).relu()))
    assert found.shape == (2, 4, -(-7 // stride), -(-6 // stride))


@pytest.mark.parametrize(("depth", "blocks"), [(10, 1), (16, 2), (28, 4)])
def test_a_wide_network_has_as_many_layers_as_its_depth_says(depth, blocks):
    """The stem, two convolutions in each block of three stages, and the head; shortcuts count for none."""
    model = PreActResNet.wide(3, 10, 4, depth)

    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert len(model.body) == 3 * blocks
    assert len(convolutions) + 1 + 2 == depth  # the count of the paper includes the 1x1 convolutions of two stages


def test_resnet_18_doubles_its_channels_three_times_and_ends_at_an_eighth_of_the_sides():
    model, seen = PreActResNet.resnet18(3, 10, 4).eval(), []
    model.body.register_forward_hook(lambda layer, given, found: seen.append(tuple(found.shape[1:])))

    model(torch.rand(1, 3, 32, 32))

    assert seen == [(32, 4, 4)]
    assert len(model.body) == 8


def test_the_middle_of_the_range_is_nought_to_it():
    model = PreActResNet.resnet18(3, 10, 2).eval()

    torch.testing.assert_close(model(torch.full((2, 3, 8, 8), 0.5)), model.head.bias.expand(2, 10))
