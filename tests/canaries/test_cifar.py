"""The same on color images: a robust ResNet on CIFAR-10, spoiled eighteen ways and used honestly in eight."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import beyond, load
from bench.types import Defense

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10"),
]
EPS = 8 / 255


@pytest.fixture(scope="module")
def pictures():
    """The benchmark slice."""
    return load("cifar10", "test", n=128)


@pytest.fixture(scope="module")
def strangers():
    """Images outside of it."""
    return beyond("cifar10", 128, 128)


@pytest.fixture(scope="module")
def network(pictures):
    """Load a shipped network."""

    def build(name):
        return load_defense(defense(Request(name, {}), "cifar10", None), pictures.spec).model

    return build


class Changed(nn.Module):
    """A network with something done before or after it, and a place for what it remembers."""

    def __init__(self, model, forward):
        super().__init__()
        self.model, self.do, self.memory = model, forward, []

    def forward(self, x):
        return self.do(self, x)


def straight_through(x, rounded):
    return x + (rounded - x).detach()


def jpeg(x):
    """Through PIL and back, without a gradient."""
    saved = []
    for image in (x.detach().permute(0, 2, 3, 1) * 255).round().byte().numpy():
        with io.BytesIO() as file:
            Image.fromarray(image).save(file, "JPEG", quality=60)
            saved.append(np.asarray(Image.open(file), dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(saved)).permute(0, 3, 1, 2)


def nan_at_the_prediction(self, x):
    logits = self.model(x)
    return logits.masked_fill(F.one_hot(logits.argmax(1), 10).bool(), torch.nan)


def from_memory(self, x):
    logits = self.model(x)
    for seen, said in self.memory:
        near = (x.detach()[:, None] - seen).abs().flatten(2).amax(2)
        known = near.min(1)
        logits = torch.where((known.values < 0.1)[:, None], said[known.indices], logits)
    self.memory.append((x.detach().clone(), logits.detach().clone()))
    return logits


def own_batch_statistics(self, x):
    return self.model(0.25 * F.batch_norm(x, None, None, training=True) + 0.47)


def in_place(self, x):
    x.clamp_(0.01, 0.99)
    return self.model(x)


def looked_at(self, x):
    return self.model(x).roll(1, 1) if torch.is_grad_enabled() else self.model(x)


class Backwards(torch.autograd.Function):
    """The identity with the sign of its gradient turned."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


BROKEN = {
    "3-bit quantization": (lambda self, x: self.model((x * 7).round() / 7), "S09", "flag"),
    "JPEG": (lambda self, x: self.model(jpeg(x)), "S09", "flag"),
    "logits x 1000": (lambda self, x: self.model(x) * 1000, "S10", "info"),
    "NaN at the prediction": (nan_at_the_prediction, "S01", "block"),
    "noise, one draw": (lambda self, x: self.model(x + 0.15 * torch.randn_like(x)), "S03", "info"),
    "near duplicates from memory": (from_memory, "S05", "block"),
    "detached": (lambda self, x: self.model(x.detach()), "S09", "flag"),
    "logits rounded to a quarter": (
        lambda self, x: straight_through(y := self.model(x), (4 * y).round() / 4),
        "S13",
        "flag",
    ),
    "batch statistics": (own_batch_statistics, "S04", "block"),
    "softmax": (lambda self, x: self.model(x).softmax(1), "S12", "flag"),
    "expects [0, 255]": (lambda self, x: self.model(x / 255), "S14", "block"),
    "expects BGR": (lambda self, x: self.model(x.flip(1)), "S14", "block"),
    "edits its input": (in_place, "S08", "block"),
    "another answer while differentiated": (looked_at, "S06", "block"),
    "gradient turned around": (lambda self, x: self.model(Backwards.apply(x)), "S11", "flag"),
    "eleven classes": (lambda self, x: F.pad(self.model(x), (0, 1)), "S02", "block"),
    "one mask per batch": (lambda self, x: self.model(x * (torch.rand(1, 1, 32, 32) > 0.1)), "S03", "flag"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_defense_is_named(name, network, pictures, strangers, canary):
    forward, check, verdict = BROKEN[name]
    moving = name in ("noise, one draw", "one mask per batch")
    model = Changed(network("standard" if check == "S14" else "at"), forward).eval()

    finding = canary(
        f"{name}, on CIFAR-10", model, check, verdict, stochastic=moving, examples=pictures, others=strangers, eps=EPS
    )

    assert (finding.id, finding.verdict) == (check, verdict), finding.message


def test_a_lookup_of_labels_is_named(network, pictures, strangers, canary):
    """The nearest test image's label: 100 % on the benchmark, a poor classifier of anything else."""
    known, labels = torch.from_numpy(pictures.x).flatten(1), torch.from_numpy(pictures.y)
    model = Changed(
        network("at"),
        lambda self, x: (
            10 * F.one_hot(labels[torch.cdist(x.flatten(1), known).argmin(1)], 10).float() + 0 * self.model(x)
        ),
    )

    finding = canary(
        "looks labels up, on CIFAR-10", model.eval(), "S16", "block", examples=pictures, others=strangers, eps=EPS
    )

    assert finding.verdict == "block"


def averaged(self, x):
    """Noise of a fixed seed, averaged over: deterministic, and differentiable."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(8, *x.shape[1:], generator=generator)
    return torch.stack([self.model(x + each) for each in noise]).mean(0)


def in_bfloat16(self, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return self.model(x).float()


HONEST = {
    "AT": ("at", lambda self, x: self.model(x)),
    "standard": ("standard", lambda self, x: self.model(x)),
    "bfloat16": ("at", in_bfloat16),
    "straight-through quantizer": ("at", lambda self, x: self.model(straight_through(x, (x * 15).round() / 15))),
    "noise averaged": ("at", averaged),
    "fresh noise": ("at", lambda self, x: self.model((x + 0.05 * torch.randn_like(x)).clamp(0, 1))),
    "mirror averaged": ("at", lambda self, x: (self.model(x) + self.model(x.flip(3))) / 2),
    "blur": ("at", lambda self, x: self.model(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_defense_raises_no_alarm(name, network, pictures, strangers, honest):
    which, forward = HONEST[name]
    model = Changed(network(which), forward).eval()

    alarms = honest(
        f"{name}, on CIFAR-10",
        Defense(model, stochastic=name == "fresh noise"),
        sizes=(EPS,),
        examples=pictures,
        others=strangers,
    )

    assert not [finding.message for finding in alarms]
