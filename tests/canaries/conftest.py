"""Images and networks the canaries are made of, and the count of what the checks said about them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bench.defenses
from bench.catalogue import DEFENSES
from bench.catalogue.registry import load
from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.types import Defense

CHECKPOINTS = {
    path.stem: path for path in (Path(bench.defenses.__file__).parent / "weights" / "digits").glob("*.safetensors")
}


class Centroids(nn.Module):
    """The nearest class mean of `curve(x)`, as a linear classifier."""

    def __init__(self, curve=lambda x: x, scale=8.0):
        super().__init__()
        data = digits("train")
        x, y = curve(torch.from_numpy(data.x)).flatten(1), torch.from_numpy(data.y)
        means = torch.stack([x[y == k].mean(0) for k in range(10)])
        self.register_buffer("weight", 2 * scale * means)
        self.register_buffer("bias", -scale * means.square().sum(1))

    def forward(self, x):
        return F.linear(x.flatten(1), self.weight, self.bias)


@pytest.fixture(scope="session")
def test_digits():
    """The benchmark slice."""
    return digits("test")


@pytest.fixture(scope="session")
def held_out():
    """Digits of the same source that are not in the benchmark."""
    return digits("validation")


@pytest.fixture(scope="session")
def shipped(test_digits):
    """Load a shipped defense of digits."""

    def build(name, **config):
        return load(DEFENSES.get(name).target)(checkpoints=CHECKPOINTS, spec=test_digits.spec, **config)

    return build


@pytest.fixture(scope="session")
def robust(shipped):
    """The adversarially trained classifier: what most canaries spoil."""
    return shipped("at").model


@pytest.fixture
def centroids():
    """Build a classifier by class means, of images or of a function of them."""
    return Centroids


@pytest.fixture
def canary(tally, test_digits, held_out):
    """Fly one broken defense: returns the finding that must name it, and keeps the count."""

    def fly(
        name, model, check, verdict, *, stochastic=False, examples=test_digits, others=held_out, eps=0.2, **options
    ):
        defense = model if isinstance(model, Defense) else Defense(model, stochastic=stochastic)
        findings = {finding.id: finding for finding in preflight(defense, examples, others, eps=eps, **options)}
        found = findings[check]
        tally(
            "canaries", int(found.verdict == verdict and found.message.startswith(check)), 1, "named by the right check"
        )
        return found

    return fly


@pytest.fixture
def honest(tally, test_digits, held_out):
    """Check one honest defense at some sizes of eps: returns its alarms, and keeps the count."""

    def check(name, defense, *, sizes=(0.2, 8 / 255), examples=test_digits, others=held_out, **options):
        alarms = [
            finding
            for eps in sizes
            for finding in preflight(defense, examples, others, eps=eps, **options)
            if finding.alarming
        ]
        tally("honest", int(bool(alarms)), 1, "flagged")
        return alarms

    return check


def cross_entropy(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.fixture(scope="session")
def trained():
    """Train a network on the training digits for some epochs of Adam, from a fixed seed."""

    def train(build, *, epochs=6, learning_rate=3e-3, loss=cross_entropy):
        data = digits("train")
        x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build().train()
            optimizer = torch.optim.Adam(model.parameters(), learning_rate)
            for _ in range(epochs):
                for index in torch.randperm(len(x)).split(64):
                    optimizer.zero_grad()
                    loss(model, x[index], y[index]).backward()
                    optimizer.step()
        return model.eval().requires_grad_(False)

    return train
