"""What a network shows on the way: which activations are taken, and what they cost."""

import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.oracle.activations import Features
from bench.oracle.oracle import Oracle
from bench.types import Defense


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x.flatten(1) @ self.weight


class Seen(nn.Module):
    """A network with activations of several sizes, some of which are no activations."""

    def __init__(self):
        super().__init__()
        self.normalize = nn.BatchNorm2d(3)
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU())
        self.block = Block()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.pool(self.block(self.first(self.normalize(x)))).flatten(1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.shrink = nn.AvgPool2d(2)
        self.turn = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.shrink(x)
        return x + self.turn(x)


class Pyramid(nn.Module):
    """Seven sizes."""

    def __init__(self):
        super().__init__()
        self.lift, self.shrink = nn.Conv2d(1, 2, 1), nn.AvgPool2d(2)

    def forward(self, x):
        x = self.lift(x)
        for _ in range(6):
            x = self.shrink(x)
        return x.flatten(1)


@pytest.fixture
def seen():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Seen().eval(), torch.rand(3, 3, 8, 6)


def test_activations_are_the_last_of_each_size(seen):
    """The rectified ones, and the sum a block returns; not the normalized image, not the pooled vector."""
    model, x = seen

    found = Oracle(Defense(model), 3).features(x, torch.arange(3))

    first = model.first(model.normalize(x))
    assert [tuple(layer.shape) for layer in found] == [(3, 4, 4, 3), (3, 4, 2, 1)]
    assert torch.equal(found[0], first)
    assert torch.equal(found[1], model.block(first))
    assert not any(part._forward_hooks for part in model.modules())


def test_the_five_largest_sizes_count():
    found = Features(Pyramid())(torch.rand(2, 1, 128, 128))

    assert [layer.shape[2] for layer in found] == [128, 64, 32, 16, 8]


def test_a_network_without_activations_is_told():
    with pytest.raises(BenchError, match="Linear shows no activations"):
        Oracle(Defense(Linear()), 6).features(torch.rand(6, 1, 2, 2), torch.arange(6))


def test_passes_for_activations_are_booked_when_they_happen(seen):
    """A forward at once, a backward with each gradient, none for one that is not asked for; and told on the way."""
    model, x = seen
    told = []
    oracle = Oracle(Defense(model), 4, on_pass=told.append)
    rows, point = torch.tensor([3, 0, 1]), x.requires_grad_()

    found = oracle.features(point, rows)
    with torch.no_grad():
        oracle.features(x, rows)
    for _ in range(3):
        torch.autograd.grad(sum(layer.sum() for layer in found), point, retain_graph=True)

    assert oracle.forwards.tolist() == [2, 2, 0, 2]
    assert oracle.backwards.tolist() == [3, 3, 0, 3]
    assert told == [3, 3]
    assert oracle.open(torch.arange(4)).tolist() == [0, 1, 2, 3]


def test_activations_take_the_access_of_gradients(seen):
    model, x = seen

    with pytest.raises(PermissionError, match="asked for activations"):
        Oracle(Defense(model), 3, access="score").features(x, torch.arange(3))


class Shaken(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x + torch.randn_like(x))


def test_activations_never_change_from_one_forward_to_the_next(seen):
    """The classifier's behind a purifier, else those without the random transform, else a refusal."""
    model, x = seen
    moving, rows = Shaken(model), torch.arange(3)
    base, calm = Defense(moving, stochastic=True, base=model), Defense(moving, stochastic=True, derandomized=model)

    found = [Oracle(subject, 3).features(x, rows) for subject in (base, calm, Defense(model))]

    assert all(torch.equal(layer, other) for one in found for layer, other in zip(one, found[2], strict=True))
    with pytest.raises(BenchError, match=r"stochastic, .* declare Defense\.base"):
        Oracle(Defense(moving, stochastic=True), 3).features(x, rows)
