"""Honest defenses of every make: no check may raise an alarm about one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.defenses.networks.resnet import ResNet
from bench.types import Defense

SHIPPED = {
    "standard": ("standard", {}),
    "AT": ("at", {}),
    "AP": ("ap", {"rt": "none"}),
    "AP with RT1": ("ap", {"rt": "1"}),
    "AToP": ("atop", {"rt": "none"}),
    "AToP with RT1": ("atop", {"rt": "1"}),
    "AToP with RT2": ("atop", {"rt": "2"}),
    "AToP with RT3": ("atop", {"rt": "3"}),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_defense_raises_no_alarm(name, shipped, honest):
    """Nor is the accuracy contradicted that its card declares for this configuration, where it does."""
    defense = shipped(SHIPPED[name][0], **SHIPPED[name][1])
    declared = defense.card.facts.get("standard_accuracy", {})

    alarms = honest(name, defense, sizes=(0.2,), declared_accuracy=declared.get("value"), declared_n=declared.get("n"))

    assert not alarms


class ViT(nn.Module):
    """Sixteen patches of 2x2, two layers of attention, dropout between them."""

    def __init__(self, width=32):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.places = nn.Parameter(0.1 * torch.randn(1, 16, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.head(self.layers(tokens).mean(1))


def post_norm_vit():
    """Layer norm after attention: torch then takes a fused path in eval mode without gradients."""
    model = ViT()
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
    model.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return model


def without_batch_norm():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.SiLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


TRAINED = {
    "ViT": (ViT, {"epochs": 4}),
    "ViT with a fused eval path": (post_norm_vit, {"epochs": 4}),
    "residual network with batch norm": (lambda: ResNet(1, 10, 8), {"epochs": 4}),
    "without batch norm": (without_batch_norm, {}),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"epochs": 10}),
    "two layers with dropout": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)),
        {"epochs": 10},
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_network_raises_no_alarm(name, trained, honest):
    """Whatever it is made of; none of them is robust, and that is no alarm."""
    build, options = TRAINED[name]

    alarms = honest(name, Defense(trained(build, **options)))

    assert not alarms


class Before(nn.Module):
    """A transform in front of a model."""

    def __init__(self, function, model):
        super().__init__()
        self.function, self.model = function, model

    def forward(self, x):
        return self.model(self.function(x))


class LowPrecision(nn.Module):
    """The whole network in a narrow type."""

    def __init__(self, model, dtype):
        super().__init__()
        self.model, self.dtype = model.to(dtype), dtype

    def forward(self, x):
        return self.model(x.to(self.dtype))


class Autocast(nn.Module):
    """Weights in float32, convolutions in bfloat16."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.model(x).float()


class Kernels(nn.Module):
    """Rounds a single image otherwise than a batch, as kernels of low precision on a GPU may."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        logits = self.model(x)
        return (logits.half() if len(x) == 1 else logits.bfloat16()).float()


class Averaging(nn.Module):
    """Mean probabilities over noise, as logarithms; the same noise for every image and call, or new one."""

    def __init__(self, model, draws, *, fixed):
        super().__init__()
        self.model, self.draws, self.fixed = model, draws, fixed

    def noise(self, x):
        if not self.fixed:
            return torch.randn(self.draws, *x.shape)
        generator = torch.Generator().manual_seed(0)
        return torch.randn(self.draws, 1, *x.shape[1:], generator=generator)

    def forward(self, x):
        noisy = x + 0.1 * self.noise(x)
        logits = self.model(noisy.flatten(0, 1)).view(self.draws, len(x), -1)
        return logits.log_softmax(2).logsumexp(0)


class Counting(nn.Module):
    """Keeps a count of its calls and the last image it saw, and uses neither."""

    def __init__(self, model):
        super().__init__()
        self.model, self.calls, self.last = model, 0, None

    def forward(self, x):
        self.calls, self.last = self.calls + 1, x
        return self.model(x)


class Jitter(nn.Module):
    """Shifts every image by a random pixel or none."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        shifts = torch.randint(-1, 2, (len(x), 2))
        padded = F.pad(x, (1, 1, 1, 1))
        moved = [image[:, 1 + dy : 9 + dy, 1 + dx : 9 + dx] for image, (dy, dx) in zip(padded, shifts.tolist())]  # noqa: B905
        return self.model(torch.stack(moved))


class Fixed(nn.Module):
    """Refuses what is no image, as a careful defense may."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if x.amin() < 0 or x.amax() > 1:
            raise ValueError("images must be in [0, 1]")
        return self.model(x)


def straight_through(levels):
    return lambda x: x + ((x * levels).round() / levels - x).detach()


WRAPPED = {
    "bfloat16": (lambda model: LowPrecision(model, torch.bfloat16), False),
    "float64": (lambda model: LowPrecision(model, torch.float64), False),
    "autocast to bfloat16": (Autocast, False),
    "bfloat16 in batches": (Kernels, False),
    "straight-through quantization to 8 levels": (lambda model: Before(straight_through(7), model), False),
    "straight-through quantization to 32 levels": (lambda model: Before(straight_through(31), model), False),
    "averages over fixed noise": (lambda model: Averaging(model, 8, fixed=True), False),
    "averages over fresh noise": (lambda model: Averaging(model, 8, fixed=False), True),
    "adds noise to every image": (lambda model: Before(lambda x: x + 0.15 * torch.randn_like(x), model), True),
    "shifts every image at random": (Jitter, True),
    "median filter": (
        lambda model: Before(lambda x: F.unfold(F.pad(x, (1,) * 4), 3).median(1).values.view_as(x), model),
        False,
    ),
    "counts its calls": (Counting, False),
    "refuses what is no image": (Fixed, False),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_an_honest_wrapper_raises_no_alarm(name, shipped, honest):
    """Low precision, quantization with a true surrogate gradient, honest randomness, bookkeeping."""
    build, stochastic = WRAPPED[name]
    defense = shipped("at")

    alarms = honest(name, replace(defense, model=build(defense.model), stochastic=stochastic))

    assert not alarms


def test_little_noise_is_randomness_in_low_precision_too(shipped, test_digits):
    """Under the tolerance of bfloat16, but never the same twice."""
    model = LowPrecision(Before(lambda x: x + 1e-3 * torch.randn_like(x), shipped("at").model), torch.bfloat16)

    findings = preflight(Defense(model, stochastic=True), test_digits)

    assert findings[2].message == "S03: forward is random; EOT and N-evaluation are on"


def test_an_untrained_network_raises_no_alarm(small_cnn, honest):
    """Bad is not broken."""
    assert not honest("untrained", Defense(small_cnn()))


def test_training_images_may_be_held_out(trained, test_digits):
    """A network that has learned its training set by heart is not accused because of it."""
    model = trained(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)), epochs=20)

    findings = preflight(Defense(model), test_digits, digits("train"), eps=0.2)

    assert not [finding for finding in findings if finding.alarming]
