"""Honest defenses of unusual makes: no check raises an alarm about one."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bench.types import Defense

CHECKER = (torch.arange(8)[:, None] + torch.arange(8)) % 2
DCT = torch.cos(math.pi / 8 * (torch.arange(8.0)[None] + 0.5) * torch.arange(8.0)[:, None]) / 2
DCT[0] /= 2**0.5
COARSE = 0.02 * (1 + torch.arange(8.0)[:, None] + torch.arange(8.0))


class Made(nn.Module):
    """`answer(self, x)` out of some parts."""

    def __init__(self, answer, **parts):
        super().__init__()
        self.answer = answer
        for name, part in parts.items():
            if type(part) is torch.Tensor:
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return self.answer(self, x)


def cnn(activation=nn.ReLU, shrink=None, norm=nn.Identity):
    shrink = shrink or nn.Conv2d(12, 12, 3, stride=2, padding=1)
    first = nn.Conv2d(1, 12, 3, padding=1), norm(12), activation(), shrink, activation()
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(192, 10))


def mlp(activation=nn.ReLU, size=64):
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 64), activation(), nn.Linear(64, 10))


def front(function, network=cnn):
    """A network trained behind a function."""
    return lambda: Made(lambda self, x: self.model(function(x)), model=network())


class Tokens(nn.Module):
    """A class token and sixteen patches."""

    def __init__(self, width=24):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.places = nn.Parameter(0.1 * torch.randn(1, 17, width))
        self.layer = nn.TransformerEncoderLayer(width, 4, 48, 0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        tokens = F.pad(self.patches(x).flatten(2).transpose(1, 2), (0, 0, 1, 0))
        return self.head(self.layer(tokens + self.places)[:, 0])


def fake_quantized(values, bits):
    """With torch's straight-through gradient."""
    low, high = float(values.detach().amin().clamp_max(0)), float(values.detach().amax())
    scale = max(high - low, 1e-6) / (2**bits - 1)
    return torch.fake_quantize_per_tensor_affine(values, scale, round(-low / scale), 0, 2**bits - 1)


def quantized(bits):
    def answer(self, x):
        hidden = F.linear(x.flatten(1), fake_quantized(self.a.weight, bits), self.a.bias).relu()
        # Ranges of activations are fixed: those of the batch would mix images.
        hidden = torch.fake_quantize_per_tensor_affine(hidden, 6 / (2**bits - 1), 0, 0, 2**bits - 1)
        return F.linear(hidden, fake_quantized(self.b.weight, bits), self.b.bias)

    return lambda: Made(answer, a=nn.Linear(64, 96), b=nn.Linear(96, 10))


def soft_tree(self, x, depth=5):
    gates, leaves = (2 * self.gates(x.flatten(1))).sigmoid(), x.new_ones(len(x), 1)
    for level in range(depth):
        gate = gates[:, 2**level - 1 : 2 ** (level + 1) - 1]
        leaves = torch.stack([leaves * gate, leaves * (1 - gate)], 2).flatten(1)
    return leaves @ self.leaves


def group_sort(self, x):
    """Orthogonal layers, and pairs of units in order: no gradient is lost."""
    hidden = self.a(x.flatten(1)).unflatten(1, (-1, 2)).sort(2).values
    return 5 * self.b(hidden.flatten(1))[:, :10]


def polynomial(self, x):
    a, b = self.a(x.flatten(1)), self.b(x.flatten(1))
    return self.c(a * b) + self.d(a * b * a)


def equilibrium(self, x):
    """One layer twelve times."""
    given = self.a(x.flatten(1))
    hidden = torch.zeros_like(given)
    for _ in range(12):
        hidden = (F.linear(hidden, 1.8 * self.b.weight / self.b.weight.norm()) + given).tanh()
    return self.c(hidden)


def experts(self, x):
    gate = self.gate(x.flatten(1)).softmax(1)
    return sum(gate[:, k, None] * expert(x) for k, expert in enumerate(self.experts))


def weight_noise(self, x):
    mean, variance = self.a(x.flatten(1)), F.linear(x.flatten(1).square(), self.a.weight.square())
    return self.b((mean + 0.15 * (variance + 1e-8).sqrt() * torch.randn_like(mean)).relu())


def dropout(self, x):
    return self.b(F.dropout(self.a(x.flatten(1)).relu(), 0.3, training=True))


def resized_and_padded(x):
    """To another size and another place, for every image."""
    rows = []
    for image in x:
        size = int(torch.randint(8, 12, ()))
        top, left = torch.randint(0, 13 - size, (2,)).tolist()
        image = F.interpolate(image[None], (size, size), mode="bilinear")
        rows.append(F.pad(image, (left, 12 - size - left, top, 12 - size - top)))
    return torch.cat(rows)


def straight_through_jpeg(x):
    coefficients = DCT @ x @ DCT.T / COARSE
    rounded = coefficients + (coefficients.round() - coefficients).detach()
    return DCT.T @ (rounded * COARSE) @ DCT


def standardized(x):
    return (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 0.05)


def median(x):
    return F.unfold(F.pad(x, (1,) * 4, mode="reflect"), 3).median(1).values.view_as(x)


# What is trained, and for how many epochs.
NETWORKS = {
    "ViT with a class token": (Tokens, 10),
    "quantization-aware, 8 bits": (quantized(8), 5),
    "quantization-aware, 4 bits": (quantized(4), 5),
    "GRU over the rows": (
        lambda: Made(lambda s, x: s.b(s.a(x[:, 0])[0][:, -1]), a=nn.GRU(8, 32, batch_first=True), b=nn.Linear(32, 10)),
        10,
    ),
    "soft tree": (
        lambda: Made(soft_tree, gates=nn.Linear(64, 31), leaves=nn.Parameter(0.1 * torch.randn(32, 10))),
        15,
    ),
    "GroupSort with orthogonal weights": (
        lambda: Made(
            group_sort,
            a=nn.utils.parametrizations.orthogonal(nn.Linear(64, 64)),
            b=nn.utils.parametrizations.orthogonal(nn.Linear(64, 64)),
        ),
        5,
    ),
    "spectral norm": (
        lambda: nn.Sequential(
            nn.Flatten(),
            nn.utils.parametrizations.spectral_norm(nn.Linear(64, 96)),
            nn.LeakyReLU(0.1),
            nn.Linear(96, 10),
        ),
        6,
    ),
    "prototypes": (
        lambda: Made(
            lambda self, x: -(self.model(x)[:, None] - self.prototypes).square().sum(2),
            model=mlp(),
            prototypes=nn.Parameter(torch.randn(10, 10)),
        ),
        6,
    ),
    "radial basis functions": (
        lambda: Made(
            lambda self, x: self.b((-(x.flatten(1)[:, None] - self.centers).square().sum(2) / 8).exp()),
            centers=nn.Parameter(torch.rand(64, 64)),
            b=nn.Linear(64, 10),
        ),
        12,
    ),
    "cosine": (
        lambda: Made(
            lambda self, x: 16 * F.normalize(self.model(x)) @ F.normalize(self.prototypes).T,
            model=mlp(nn.GELU),
            prototypes=nn.Parameter(torch.randn(10, 10)),
        ),
        6,
    ),
    "polynomial": (
        lambda: Made(polynomial, a=nn.Linear(64, 48), b=nn.Linear(64, 48), c=nn.Linear(48, 10), d=nn.Linear(48, 10)),
        6,
    ),
    "unrolled equilibrium": (
        lambda: Made(equilibrium, a=nn.Linear(64, 48), b=nn.Linear(48, 48), c=nn.Linear(48, 10)),
        6,
    ),
    "mixture of experts": (
        lambda: Made(experts, gate=nn.Linear(64, 4), experts=nn.ModuleList(mlp() for _ in range(4))),
        5,
    ),
    "max pooling": (lambda: cnn(shrink=nn.MaxPool2d(2)), 4),
    "instance norm": (lambda: cnn(norm=nn.InstanceNorm2d), 5),
    "capped units": (lambda: cnn(nn.ReLU6), 4),
    "maxout": (
        lambda: Made(
            lambda self, x: self.b(self.a(x.flatten(1)).unflatten(1, (-1, 3)).amax(2)),
            a=nn.Linear(64, 144),
            b=nn.Linear(48, 10),
        ),
        5,
    ),
    "sines": (
        lambda: Made(
            lambda self, x: self.b((2 * self.a(x.flatten(1))).sin()), a=nn.Linear(64, 96), b=nn.Linear(96, 10)
        ),
        6,
    ),
    "every other pixel": (front(lambda x: x * CHECKER), 5),
    "center crop": (front(lambda x: x[:, :, 1:7, 1:7], lambda: mlp(size=36)), 6),
    "low frequencies": (front(lambda x: DCT.T @ (DCT @ x @ DCT.T * (COARSE < 0.13)) @ DCT), 5),
    "medians": (front(median), 5),
    "per-image standardization": (front(standardized), 4),
    "straight-through JPEG": (front(straight_through_jpeg), 4),
    "gamma": (front(lambda x: (x.clamp_min(0) + 0.1) ** 0.6), 4),
    "bounded logits": (lambda: Made(lambda self, x: 10 * (self.model(x) / 10).tanh(), model=cnn()), 4),
    "overfitted": (mlp, 40),
}
STOCHASTIC = {
    "dropout": (lambda: Made(dropout, a=nn.Linear(64, 128), b=nn.Linear(128, 10)), 8),
    "noisy weights": (lambda: Made(weight_noise, a=nn.Linear(64, 128), b=nn.Linear(128, 10)), 8),
    "random resize and pad": (front(resized_and_padded, lambda: mlp(size=144)), 24),
}


@pytest.mark.parametrize("name", NETWORKS | STOCHASTIC)
def test_an_unusual_network_raises_no_alarm(name, trained, honest, test_digits):
    """And it has learned to read digits: what answers by chance would show nothing."""
    build, epochs = (NETWORKS | STOCHASTIC)[name]
    model = trained(build, epochs=epochs)

    alarms = honest(name, Defense(model, stochastic=name in STOCHASTIC))

    assert not alarms
    assert np.mean(model(torch.from_numpy(test_digits.x)).argmax(1).numpy() == test_digits.y) > 0.6


@pytest.fixture(scope="module")
def network(trained):
    return trained(cnn, epochs=4)


def in_type(dtype):
    return lambda model: Made(lambda self, x: self.model(x.to(dtype)), model=model.to(dtype))


def after(function):
    return lambda model: Made(lambda self, x: function(self.model(x)), model=model)


def smoothing(self, x):
    noisy = x + 0.2 * torch.randn(32, *x.shape)
    return self.model(noisy.flatten(0, 1)).view(32, len(x), -1).log_softmax(2).logsumexp(0)


def recomputed(self, x):
    return checkpoint(self.model, x, use_reentrant=False) if torch.is_grad_enabled() else self.model(x)


AROUND = {
    "float64": in_type(torch.float64),
    "bfloat16": in_type(torch.bfloat16),
    "float16": in_type(torch.float16),
    "logits times 20": after(lambda z: 20 * z),
    "tiny logits": after(lambda z: 1e-3 * z),
    "logits plus 1000": after(lambda z: z + 1000),
    "activations recomputed": lambda model: Made(recomputed, model=model),
    "smoothing over 32 draws": lambda model: Made(smoothing, model=model),
    "TorchScript": lambda model: torch.jit.trace(model, torch.rand(4, 1, 8, 8)),
}


@pytest.mark.parametrize("name", AROUND)
def test_an_unusual_use_of_a_network_raises_no_alarm(name, network, honest):
    model = AROUND[name](copy.deepcopy(network))

    assert not honest(name, Defense(model, stochastic="draws" in name))


def each(self, x):
    return torch.stack([member(x) for member in self.members])


def one_member(self, x):
    """Another one for every image."""
    return each(self, x)[torch.randint(len(self.members), (len(x),)), torch.arange(len(x))]


ENSEMBLES = {
    "deep ensemble": lambda self, x: each(self, x).log_softmax(2).logsumexp(0),
    "random member": one_member,
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_raises_no_alarm(name, trained, honest):
    members = nn.ModuleList(trained(build, epochs=4) for build in (cnn, mlp, lambda: mlp(nn.Tanh)))

    assert not honest(name, Defense(Made(ENSEMBLES[name], members=members), stochastic="random" in name))
