"""A defense of your own: copy this file, put your network in, and run it beside others.

bench check ./mine.py:build
bench run --defenses standard,./mine.py:build --attacks fgsm,pgd-eot-20 --n 100

A function without arguments returns an nn.Module from images `[B, C, H, W]` in [0, 1] to logits
`[B, classes]`. Whatever belongs to the defense is inside: normalization, purifier, noise.
"""

import torch
from torch import nn

from bench.catalogue.weights import locate
from bench.defenses.standard import load
from bench.types import Defense, ImageSpec


def classifier() -> nn.Module:
    """Your network with its weights. Here: the digits classifier that comes with the package.

    Yours may be `net = MyNet(); net.load_state_dict(torch.load("mine.pt", weights_only=True))`, and
    `nn.Sequential(Normalize(mean, std), net)` where it was trained on normalized images.
    """
    weights = {"standard": locate("standard", "digits", None)}
    return load(checkpoints=weights, spec=ImageSpec((1, 8, 8), 10)).model


class Noise(nn.Module):
    """Gaussian noise on the image. That the defense is stochastic is found out by itself."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # From torch's global generator: the harness seeds it, so that results repeat.
        return (x + self.sigma * torch.randn_like(x)).clamp(0, 1)


def build() -> nn.Module:
    """Return the simplest defense that works: a module."""
    return nn.Sequential(Noise(0.1), classifier())


def declared() -> Defense:
    """Return the same defense as a record, whose parts `--attacks bpda,blind` can use: the noise and the base.

    `trained_on` decides which attacks count as seen: `trained_on=(ThreatModel.parse("Linf:0.2"),)`.
    """
    noise, net = Noise(0.1), classifier()
    return Defense(nn.Sequential(noise, net), stochastic=True, purifier=noise, base=net, trained_on=())
