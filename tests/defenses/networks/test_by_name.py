"""Shapes, ranges and sizes of the networks, on digits and on CIFAR-sized images."""

from __future__ import annotations

import pytest
import torch

from bench.defenses.networks.by_name import CLASSIFIERS, PURIFIERS, build
from bench.defenses.networks.unet import UNet
from bench.errors import BenchError
from bench.types import ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)
CIFAR = ImageSpec((3, 32, 32), 10)
ODD = ImageSpec((3, 13, 7), 5)


@pytest.mark.parametrize("spec", [DIGITS, CIFAR, ODD], ids=["digits", "cifar", "odd"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_give_one_logit_per_class_for_images_of_any_size(name, spec):
    """Channels and classes come from the dataset; height and width do not matter."""
    model = build({"name": name, "width": 4}, spec).eval()

    logits = model(torch.rand(2, *spec.shape))

    assert logits.shape == (2, spec.classes)


def test_an_example_does_not_depend_on_its_batch():
    """The purifier has no batch statistics: an image alone is painted as it is in company."""
    purifier = UNet(1).train()
    x, mask = torch.rand(8, 1, 8, 8), torch.zeros(8, 1, 8, 8)

    together, alone = purifier(x, mask)[:1], purifier(x[:1], mask[:1])

    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "width", "spec", "parameters"),
    [
        ("small-cnn", 16, DIGITS, 33_338),
        ("resnet-8", 16, CIFAR, 78_042),
        ("resnet-18", 64, CIFAR, 11_173_962),
        ("resnet-34", 64, CIFAR, 21_282_122),
        ("resnet-50", 64, CIFAR, 23_520_842),
        ("preact-resnet-18", 64, CIFAR, 11_172_170),
        ("wrn-16", 64, CIFAR, 2_748_890),
        ("wrn-28", 160, CIFAR, 36_479_194),
        ("unet", 12, DIGITS, 60_457),
    ],
)
def test_networks_have_the_size_they_are_known_for(name, width, spec, parameters):
    """The residual networks are those of the CIFAR literature: the counts are public."""
    model = build({"name": name, "width": width}, spec)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_an_unknown_architecture_suggests_the_nearest_one():
    """A card with a mistyped architecture says what was meant."""
    with pytest.raises(BenchError, match=r"unknown architecture 'resnet8': did you mean .*resnet-8"):
        build({"name": "resnet8", "width": 16}, CIFAR)


@pytest.mark.parametrize("width", [None, 0, "16"])
def test_a_width_that_is_no_positive_integer_is_named(width):
    """A card without a usable width fails before a network is built."""
    name = next(iter(PURIFIERS))

    with pytest.raises(BenchError, match=r"has width .*: it must be a positive integer"):
        build({"name": name, "width": width}, CIFAR)
