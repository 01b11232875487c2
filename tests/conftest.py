"""Models whose robustness is known in closed form, and the means to attack them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.datasets.digits import digits
from bench.geometry import project, random_in_ball
from bench.oracle import Oracle
from bench.random import Stream
from bench.types import Defense, ThreatModel

torch.set_num_threads(1)

_FIGURES = pytest.StashKey[dict]()


def pytest_configure(config):
    config.stash[_FIGURES] = {}


def _add(config, name, count, total, text):
    figures = config.stash[_FIGURES]
    before = figures.get(name, (0, 0, text))
    figures[name] = (before[0] + count, before[1] + total, text)


def pytest_sessionfinish(session):
    """A worker of pytest-xdist sends its share of the figures home."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = session.config.stash[_FIGURES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    for name, figure in getattr(node, "workeroutput", {}).get("figures", {}).items():
        _add(node.config, name, *figure)


def pytest_terminal_summary(terminalreporter, config):
    """The figures some tests stand for, a line each: how many of how many."""
    for name, (count, total, text) in sorted(config.stash[_FIGURES].items()):
        terminalreporter.write_line(f"{name:12s} {count}/{total} {text}")


@pytest.fixture
def tally(request):
    """Add to a figure of the summary: `tally("violations", caught, tried, "caught")`."""

    def add(name, count, total, text):
        _add(request.config, name, count, total, text)

    return add


class Halfspace(nn.Module):
    """A linear classifier: every decision boundary is a hyperplane, its distance exact."""

    def __init__(self, shape=(1, 8, 8), classes=2, scale=10.0, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = math.prod(shape)
        weight = torch.randn(classes, size, generator=generator) * scale / size**0.5
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return (x - 0.5).flatten(1) @ self.weight.T

    @torch.no_grad()
    def distance(self, x, y, family):
        """The Lp distance of each image to the nearest other class, `[B]`, in float64; no box."""
        dual = {"Linf": 1, "L2": 2, "L1": math.inf}[family]
        weight = self.weight.double()
        logits = (x.double() - 0.5).flatten(1) @ weight.T
        gap = logits.gather(1, y[:, None]) - logits
        slope = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=dual, dim=2)
        return torch.where(slope > 0, gap / slope.clamp_min(1e-12), torch.inf).amin(1)


class NoisyHalfspace(nn.Module):
    """A two-class halfspace that adds normal noise of known size to its margin, per row and call."""

    def __init__(self, noise=1.0, **options):
        super().__init__()
        self.halfspace = Halfspace(classes=2, **options)
        self.noise = noise

    def forward(self, x):
        shift = self.noise * torch.randn(len(x), 1)
        return self.halfspace(x) + torch.cat([shift, -shift], 1) / 2

    @torch.no_grad()
    def error_rate(self, x, y):
        """The exact probability that one draw is wrong, `[B]`, in float64."""
        logits = self.halfspace(x).double()
        gap = logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None])
        return 0.5 * torch.erfc(-gap.squeeze(1) / self.noise / math.sqrt(2))


class Bowl(nn.Module):
    """Class 0 inside a sphere around gray, class 1 outside: a curved boundary at a known distance."""

    def __init__(self, radius=0.5):
        super().__init__()
        self.radius = radius

    def forward(self, x):
        inside = self.radius**2 - (x - 0.5).flatten(1).square().sum(1)
        return torch.stack([inside, torch.zeros_like(inside)], 1)

    def distance(self, x):
        """The L2 distance of each image to the sphere, `[B]`."""
        return (self.radius - (x - 0.5).flatten(1).norm(dim=1)).abs()


class Masked(nn.Module):
    """A model behind a rounding of its input: the same decisions nearly everywhere, no gradient."""

    def __init__(self, model, levels=32):
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, x):
        return self.model((x * self.levels).round() / self.levels)


def _small_cnn(channels=1, classes=10, width=8, seed=0):
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


@pytest.fixture
def halfspace():
    """Build a linear classifier."""
    return Halfspace


@pytest.fixture
def noisy_halfspace():
    """Build a stochastic linear classifier."""
    return NoisyHalfspace


@pytest.fixture
def bowl():
    """Build a classifier with a spherical boundary."""
    return Bowl


@pytest.fixture
def masked():
    """Put a rounding in front of a model."""
    return Masked


@pytest.fixture
def small_cnn():
    """Build an untrained convolutional network with fixed weights."""
    return _small_cnn


@pytest.fixture
def images():
    """Draw `n` images around gray, far from the edges of the box."""

    def draw(n, shape=(1, 8, 8), seed=0):
        return 0.4 + 0.2 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture
def stream():
    """Build the stream of `n` examples with fixed ids."""

    def build(n, *scope):
        return Stream.of([f"example-{index}" for index in range(n)], "test", *scope)

    return build


@pytest.fixture
def launch(stream):
    """Run an attack on a model; returns `x_adv` and the oracle with its ledger."""

    def run(attack, model, x, y, threat, *, stochastic=False, access="gradient", scope=(), rows=None):
        if isinstance(threat, str):
            threat = ThreatModel.parse(threat)
        streams = stream(len(x), *scope) if rows is None else stream(max(rows) + 1, *scope).rows(torch.tensor(rows))
        oracle = Oracle(Defense(model, stochastic=stochastic), len(x), scope=("test", *scope), access=access)
        return attack(oracle, x, y, threat, stream=streams), oracle

    return run


@pytest.fixture(scope="session")
def robust_digits():
    """A network adversarially trained for a second, and 32 test digits it gets right."""
    data = digits("train")
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    threat = ThreatModel.parse("Linf:0.15")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(384, 10),
        )
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(5):
            for index in torch.randperm(len(x)).split(64):
                images, labels = x[index], y[index]
                x_adv = random_in_ball(images, torch.rand_like(images), threat)
                for _ in range(2):
                    x_adv.requires_grad_()
                    (grad,) = torch.autograd.grad(nn.functional.cross_entropy(model(x_adv), labels), x_adv)
                    x_adv = project(x_adv.detach() + 0.1 * grad.sign(), images, threat)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x_adv), labels).backward()
                optimizer.step()
    model.eval()
    model.zero_grad(set_to_none=True)
    data = digits("test")
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = (model(x).argmax(1) == y).nonzero().squeeze(1)[:32]
    return model, x[right], y[right]


@pytest.fixture(scope="session")
def tinted_digits():
    """Digits in color, a tint per class, and a network that has learned to look at it: 3 x 8 x 8."""
    turns = torch.arange(10) / 10
    tints = 0.55 + 0.45 * torch.stack([torch.cos(2 * math.pi * (turns + shift)) for shift in (0, 1 / 3, 2 / 3)], 1)

    def tinted(split):
        data = digits(split)
        x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        return 0.1 + 0.8 * x * tints[y][:, :, None, None], y

    x, y = tinted("train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(384, 10),
        )
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(3):
            for index in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[index]), y[index]).backward()
                optimizer.step()
    model.eval()
    model.zero_grad(set_to_none=True)
    x, y = tinted("test")
    right = (model(x).argmax(1) == y).nonzero().squeeze(1)[:32]
    return model, x[right], y[right]
