"""Residual networks: their stages, their shortcuts, and the mean over places."""

import pytest
import torch
from torch import nn

from bench.defenses.networks.resnet import BasicBlock, Bottleneck, ResNet, average


def test_the_mean_over_places_is_the_mean_with_the_layout_of_the_features_in_its_gradient():
    """The layer before takes ten times as long where channels last go in and anything else comes back."""
    features = torch.rand(2, 5, 3, 7).to(memory_format=torch.channels_last).requires_grad_()

    found = average(features)
    (grad,) = torch.autograd.grad(found.sum(), features)

    torch.testing.assert_close(found, features.mean((2, 3)))
    torch.testing.assert_close(grad, torch.full_like(features, 1 / 21))
    assert grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
def test_a_block_whose_residual_is_nought_is_its_shortcut(kind):
    """With its last normalization silenced; what is negative is cut off behind the sum."""
    block = kind(4 * kind.expansion, 4, 1).eval()
    last = block.norm2 if kind is BasicBlock else block.norm3
    nn.init.zeros_(last.weight)
    x = torch.randn(2, 4 * kind.expansion, 6, 6)

    assert isinstance(block.shortcut, nn.Identity)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
@pytest.mark.parametrize(("inputs", "stride"), [(4, 2), (6, 1)])
def test_where_the_shape_changes_the_shortcut_is_a_convolution_of_single_pixels(kind, inputs, stride):
    block = kind(inputs, 4, stride).eval()

    found = block(torch.rand(2, inputs, 7, 6))

    assert found.shape == (2, 4 * kind.expansion, -(-7 // stride), -(-6 // stride))
    assert block.shortcut[0].kernel_size == (1, 1)


@pytest.mark.parametrize(("blocks", "sides"), [((1, 1, 1), [16, 8, 4]), ((2, 2, 2, 2), [16, 8, 4, 2])])
def test_every_stage_but_the_first_doubles_the_channels_and_halves_the_sides(blocks, sides):
    model, seen = ResNet(3, 10, 4, blocks).eval(), []
    starts = [sum(blocks[:stage]) for stage in range(len(blocks))]
    for index in starts:
        model.body[index].register_forward_hook(lambda layer, given, found: seen.append(tuple(found.shape[1:])))

    model(torch.rand(1, 3, 16, 16))

    assert seen == [(4 * 2**stage, side, side) for stage, side in enumerate(sides)]


def test_the_middle_of_the_range_is_nought_to_it():
    model = ResNet(3, 10, 4).eval()

    torch.testing.assert_close(model(torch.full((2, 3, 8, 8), 0.5)), model.head.bias.expand(2, 10))
