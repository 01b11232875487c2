"""What attacks are tried on: classifiers whose boundaries are known, untrained networks, digits learned in a second."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.digits import digits
from bench.oracle.geometry import project, random_in_ball
from bench.threats import ThreatModel


class Halfspace(nn.Module):
    """A linear classifier: every decision boundary is a hyperplane, its distance exact."""

    def __init__(
        self, shape: tuple[int, ...] = (1, 8, 8), classes: int = 2, scale: float = 10.0, seed: int = 0
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = math.prod(shape)
        weight = torch.randn(classes, size, generator=generator) * scale / size**0.5
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight.T

    @torch.no_grad()
    def distance(self, x: Tensor, y: Tensor, family: str) -> Tensor:
        """The Lp distance of each image to the nearest other class, `[B]`, in float64; no box."""
        dual = {"Linf": 1, "L2": 2, "L1": math.inf}[family]
        weight = self.weight.double()
        logits = (x.double() - 0.5).flatten(1) @ weight.T
        gap = logits.gather(1, y[:, None]) - logits
        slope: Tensor = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=dual, dim=2)
        return torch.where(slope > 0, gap / slope.clamp_min(1e-12), torch.inf).amin(1)


class NoisyHalfspace(nn.Module):
    """A two-class halfspace that adds normal noise of known size to its margin, per row and call."""

    def __init__(self, noise: float = 1.0, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0) -> None:
        super().__init__()
        self.halfspace = Halfspace(shape, seed=seed)
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        shift = self.noise * torch.randn(len(x), 1)
        logits: Tensor = self.halfspace(x)
        return logits + torch.cat([shift, -shift], 1) / 2

    @torch.no_grad()
    def error_rate(self, x: Tensor, y: Tensor) -> Tensor:
        """The exact probability that one draw is wrong, `[B]`, in float64."""
        logits = self.halfspace(x).double()
        gap = logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None])
        return 0.5 * torch.erfc(-gap.squeeze(1) / self.noise / math.sqrt(2))


class Steady(nn.Module):
    """A model with a gradient and always the same answer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return 1e-3 * logits + 50 * torch.eye(10)[0]


class _Contrast(nn.Module):
    """A purifier that takes a tenth of the contrast."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 + 0.9 * (x - 0.5)


class BehindPurifier(nn.Module):
    """A model behind a purifier."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.purifier, self.base = _Contrast(), base

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.base(self.purifier(x))
        return logits


class Counting(nn.Module):
    """A model that counts for itself what it is asked, whoever asks.

    Attributes:
        forwards: images that went through it.
        backwards: images whose logits were differentiated.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.forwards = self.backwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        logits: Tensor = self.model(x)
        if logits.requires_grad:
            logits = logits.view_as(logits)
            logits.register_hook(self._differentiated)  # type: ignore[no-untyped-call]
        return logits

    def _differentiated(self, grad: Tensor) -> None:
        self.backwards += len(grad)


def small_cnn(channels: int = 1, classes: int = 10, width: int = 8, seed: int = 0) -> nn.Sequential:
    """An untrained convolutional network with fixed weights, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, classes),
        ).eval()


class Classified(NamedTuple):
    """A network, and images that it gets right with their labels."""

    model: nn.Module
    x: Tensor
    y: Tensor


def _digits_cnn(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 10),
    )


@cache
def robust_digits() -> Classified:
    """A network adversarially trained for a second, and 32 test digits it gets right."""
    x, y = _digits("train")
    threat = ThreatModel.parse("Linf:0.15")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _digits_cnn(1)
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(5):
            for index in torch.split(torch.randperm(len(x)), 64):
                images, labels = x[index], y[index]
                x_adv = random_in_ball(images, torch.rand_like(images), threat)
                for _ in range(2):
                    x_adv.requires_grad_()
                    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(model(x_adv), labels), x_adv)
                    x_adv = project(x_adv.detach() + 0.1 * grad.sign(), images, threat)
                _learn(model, optimizer, x_adv, labels)
    return _right(model, *_digits("test"), 32)


@cache
def tinted_digits() -> Classified:
    """Digits in color, a tint per class, and a network that has learned to look at it: 3 x 8 x 8."""
    x, y = _tinted("train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _digits_cnn(3)
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(3):
            for index in torch.split(torch.randperm(len(x)), 64):
                _learn(model, optimizer, x[index], y[index])
    return _right(model, *_tinted("test"), 32)


@cache
def undefended_digits() -> Classified:
    """The shipped network that was trained on clean digits, with a dozen it gets right."""
    data = digits("test").first(16)
    model = load_defense(defense(Request("standard", {}), "digits", None), data.spec).model
    return _right(model, torch.from_numpy(data.x), torch.from_numpy(data.y), 12)


def _learn(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _right(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Classified:
    model.eval()
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        right = (model(x).argmax(1) == y).nonzero().squeeze(1)[:n]
    return Classified(model, x[right], y[right])


def _digits(split: str) -> tuple[Tensor, Tensor]:
    data = digits(split)
    return torch.from_numpy(data.x), torch.from_numpy(data.y)


def _tinted(split: str) -> tuple[Tensor, Tensor]:
    turns = torch.arange(10) / 10
    tints = 0.55 + 0.45 * torch.stack([torch.cos(2 * math.pi * (turns + shift)) for shift in (0, 1 / 3, 2 / 3)], 1)
    x, y = _digits(split)
    return 0.1 + 0.8 * x * tints[y][:, :, None, None], y
