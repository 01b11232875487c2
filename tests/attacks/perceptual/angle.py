"""A network whose perceptual distance is known in closed form."""

import math

import torch
from torch import nn


class Angle(nn.Module):
    """A network whose distance is known: each pixel p is seen as the direction of (p, 1)."""

    def __init__(self):
        super().__init__()
        self.pair = nn.Conv2d(1, 2, 1)
        self.pair.weight.data = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
        self.pair.bias.data = torch.tensor([0.0, 1.0])

    def forward(self, x):
        return self.pair(x).flatten(1)

    @staticmethod
    def reach(start, eps):
        """How bright an image of one brightness can become: each pixel turns by a chord of eps."""
        return math.tan(math.atan(start) + 2 * math.asin(eps / 2))


class Brightness(nn.Module):
    """Class 0 until the mean exceeds `limit`; what it sees of an image is `Angle`."""

    def __init__(self, limit, scale=1.0):
        super().__init__()
        self.see, self.limit, self.scale = Angle(), limit, scale

    def forward(self, x):
        self.see(x)
        mean = x.mean((1, 2, 3))
        return self.scale * torch.stack([torch.zeros_like(mean), mean - self.limit], 1)


class Noisy(nn.Module):
    """A model that adds noise to its logits, and some to every activation."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        logits = self.model(x + 1e-3 * torch.randn_like(x))
        return logits + 1e-3 * torch.randn_like(logits)
