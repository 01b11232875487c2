"""Two hundred small networks as chance draws them, and two of unusual sizes: no check raises an alarm about one."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from bench.datasets.examples import Examples
from bench.types import Defense, ImageSpec

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.SiLU, nn.ELU, nn.Softplus, nn.Mish, nn.Hardswish)


def drawn(seed):
    """A small network of random make, and how it is trained: untrained, or for an epoch or two."""
    chance = random.Random(seed)
    convolutional, depth, activation = chance.random() < 0.5, chance.randint(1, 4), chance.choice(ACTIVATIONS)
    width = chance.choice((8, 16, 32) if convolutional else (16, 32, 64, 128))
    norm, pool = chance.choice((None, None, "batch", "layer")), chance.choice((nn.MaxPool2d, nn.AvgPool2d, None))
    dropped, scale = chance.choice((0, 0, 0.3)), chance.choice((0.3, 0.7, 1, 1, 1, 2, 4))
    louder = chance.choice((0.05, 1, 1, 1, 5))
    how = {"epochs": chance.randint(0, 2), "learning_rate": chance.choice((3e-3, 1e-2))}

    def build():
        torch.manual_seed(seed)
        layers, channels, side = ([], 1, 8) if convolutional else ([nn.Flatten()], 64, 1)
        for level in range(depth - 1):
            if convolutional:
                layers.append(nn.Conv2d(channels, width, 3, stride=1 + (level == 0 and pool is None), padding=1))
            else:
                layers.append(nn.Linear(channels, width))
            channels = width
            if norm == "batch":
                layers.append((nn.BatchNorm2d if convolutional else nn.BatchNorm1d)(width))
            if norm == "layer":
                layers.append(nn.GroupNorm(1, width))
            layers.append(activation())
            if convolutional and level == 0:
                layers += [pool(2)] if pool else []
                side = 4
        network = nn.Sequential(*layers, nn.Dropout(dropped), nn.Flatten(), nn.Linear(channels * side**2, 10))
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(scale if weight.dim() > 1 else 1)
            network[-1].weight.mul_(louder)
        return network

    return build, how


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, 200, 20)], ids=str)
def test_networks_drawn_by_chance_raise_no_alarm(seeds, trained, honest, test_digits, held_out):
    """Good or bad: about a third are right on 80 %, others on no more than by chance."""
    alarms = {}
    for seed in seeds:
        build, how = drawn(seed)
        few = {"examples": test_digits.first(128), "others": held_out.first(128)}
        found = honest(f"drawn from seed {seed}", Defense(trained(build, **how)), sizes=(0.2,), **few)
        if found:
            alarms[seed] = [finding.message for finding in found]

    assert not alarms


def noise(n, shape, classes):
    """Random images with random labels."""
    rng = np.random.default_rng(0)
    x, y = rng.random((n, *shape), dtype=np.float32), rng.integers(0, classes, n)
    return Examples("noise", "test", [f"noise-{index}" for index in range(n)], x, y, ImageSpec(shape, classes))


def test_a_thousand_classes_raise_no_alarm(small_cnn, honest):
    images = noise(128, (3, 16, 16), 1000)
    model = small_cnn(channels=3, classes=1000, width=16)

    parts = {"examples": images.part(0, 64), "others": images.part(64, 128)}
    assert not honest("1,000 classes", Defense(model), **parts)


@pytest.mark.slow
def test_large_images_raise_no_alarm(honest):
    images = noise(32, (3, 224, 224), 10)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 16, stride=16),
            nn.ReLU(),
            nn.Conv2d(8, 16, 7, stride=7),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(64, 10),
        )

    parts = {"examples": images.part(0, 16), "others": images.part(16, 32)}
    assert not honest("224 x 224", Defense(model.eval()), sizes=(8 / 255,), **parts)
