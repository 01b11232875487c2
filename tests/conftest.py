"""Models whose robustness is known in closed form, and the means to attack them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.checks.contracts import models
from bench.checks.contracts.models import Halfspace, NoisyHalfspace
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel
from bench.types import Defense
from tests.faults.summary import line, of_markers, summed

torch.set_num_threads(1)
# Commands that several tests start beside each other have threads of their own: one that waits shall not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Started in the background or by `nohup`, this process ignores these, and so would every command that it starts.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

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


def pytest_itemcollected(item):
    """What a test injects belongs to its report: pytest-xdist sends no markers home."""
    item.user_properties += of_markers(item)


def pytest_terminal_summary(terminalreporter, config):
    """The figures some tests stand for, a line each: how many of how many."""
    for name, (count, total, text) in sorted(config.stash[_FIGURES].items()):
        terminalreporter.write_line(f"{name:12s} {count}/{total} {text}")
    injected = line(summed(terminalreporter.stats))
    if injected:
        terminalreporter.write_line(injected)


# In these folders a run computes in the process of the tests, which has imported torch, unless it asks for others.
_HERE = ("api", "canaries", "checks", "cli", "contracts", "defenses", "report", "results")


@pytest.fixture(autouse=True)
def computed_here(request, monkeypatch):
    """Isolated processes are tested where they are made: in machine/, harness/ and faults/."""
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder in _HERE:
        monkeypatch.setenv("BENCH_EXECUTOR", "local")


@pytest.fixture
def tally(request):
    """Add to a figure of the summary: `tally("violations", caught, tried, "caught")`."""

    def add(name, count, total, text):
        _add(request.config, name, count, total, text)

    return add


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
    return models.small_cnn


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
def _ray_nodes():
    from tests.harness.executors.nodes import Nodes

    nodes = Nodes()
    yield nodes
    nodes.stop()


@pytest.fixture
def ray_nodes(_ray_nodes, monkeypatch):
    """A Ray cluster of two nodes on this machine, one for all tests, and the token to join it."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, _ray_nodes.environment[name])
    return _ray_nodes


@pytest.fixture(scope="session")
def robust_digits():
    """A network adversarially trained for a second, and 32 test digits it gets right."""
    return models.robust_digits()


@pytest.fixture(scope="session")
def tinted_digits():
    """Digits in color, a tint per class, and a network that has learned to look at it: 3 x 8 x 8."""
    return models.tinted_digits()


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch):
    """What is printed fits whatever terminal there is: tests say for themselves which one they mean."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", _none)


@pytest.fixture(autouse=True)
def _not_on_github(monkeypatch):
    """A gate that a test runs must not speak to the runner that runs the tests."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def _none(*_):
    raise OSError("no terminal")
