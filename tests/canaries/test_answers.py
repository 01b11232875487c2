"""Defenses whose answers do not belong to the question: each is named by the right check."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

MEMORY: list[tuple[torch.Tensor, torch.Tensor]] = []


def recalled(memory, x, logits, radius=0.3):
    """For each image the logits of the first one remembered nearby, or its own."""
    for known, answer in memory:
        far = (x[:, None] - known[None]).flatten(2).abs().amax(2)
        near = far.amin(1) <= radius
        logits = torch.where(near[:, None], answer[far.argmin(1)], logits)
    return logits


class Remembering(nn.Module):
    """Answers near-duplicates from memory, so that a search never moves it."""

    def __init__(self, model):
        super().__init__()
        self.model, self.memory = model, []

    def forward(self, x):
        logits = recalled(self.memory, x, self.model(x))
        self.memory.append((x.detach().clone(), logits.detach()))
        return logits


class RememberingGlobally(nn.Module):
    """The same, with a memory that all instances share."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        logits = recalled(MEMORY, x, self.model(x))
        MEMORY.append((x.detach().clone(), logits.detach()))
        return logits


class RunningOut(nn.Module):
    """Masks are taken from a list by a counter of calls; from the fifth call on there are none."""

    def __init__(self, model):
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, x):
        self.calls += 1
        if self.calls <= 4:
            x = x * (torch.rand(len(x), 1, 8, 8) > 0.25)
        return self.model(x)


class EveryTenth(nn.Module):
    """Answers every tenth call otherwise."""

    def __init__(self, model):
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, x):
        self.calls += 1
        return self.model(x.flip(3) if self.calls % 10 == 0 else x)


class Growing(nn.Module):
    """Trusts itself more with every call: a drift too slow for two calls to show."""

    def __init__(self, model):
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, x):
        self.calls += 1
        return self.model(x) * (1 + 2e-4 * self.calls)


class Differentiated(nn.Module):
    """Shows another face to whoever differentiates it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.flip(3) if x.requires_grad else x)


class Recorded(Differentiated):
    """Shows another face wherever gradients are recorded."""

    def forward(self, x):
        return self.model(x + 0.3 if torch.is_grad_enabled() else x)


class BatchStatistics(nn.Module):
    """Batch normalization by the batch at hand, outside of any module that eval() could reach; none for one image."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if len(x) > 1:
            x = 0.4 + 0.35 * F.batch_norm(x, None, None, training=True)
        return self.model(x)


class RunningStatistics(nn.Module):
    """Adapts its running statistics to what it is asked."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.full((1,), 0.3))
        self.register_buffer("var", torch.full((1,), 0.14))

    def forward(self, x):
        F.batch_norm(x, self.mean, self.var, training=True, momentum=1e-6)
        return self.model(x)


class StuckInTraining(nn.Module):
    """Its train() keeps one kind of layer in train mode."""

    def __init__(self, model, layer):
        super().__init__()
        self.layer, self.model = layer, model

    def train(self, mode=True):
        super().train(mode)
        self.layer.training = True
        return self

    def forward(self, x):
        return self.model(self.layer(x))


class ByPlace(nn.Module):
    """Knows the labels of the benchmark, and takes them from a list by place in a batch."""

    def __init__(self, model, labels):
        super().__init__()
        self.model = model
        self.labels = torch.from_numpy(labels)

    def forward(self, x):
        if len(x) == 1:
            return self.model(x)
        return self.model(x) + 20 * F.one_hot(self.labels[: len(x)], 10)


class AloneOrNot(nn.Module):
    """Purifies only when asked about few images at a time, in noise that hides it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        x = x + 0.05 * torch.randn_like(x)
        return self.model(x.flip(2, 3) if len(x) < 8 else x)


class Alone(nn.Module):
    """Another answer to a single image than to many."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.flip(2, 3) if len(x) == 1 else x)


class Editing(nn.Module):
    """Normalizes its input in place."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.detach().mul_(0.9) / 0.9)


class Noisy(nn.Module):
    """Noise from whatever source, added to the images."""

    def __init__(self, model, draw):
        super().__init__()
        self.model, self.draw = model, draw

    def forward(self, x):
        return self.model(x + 0.15 * self.draw(x))


def from_the_system(x):
    """Normal noise that no seed repeats."""
    seed = int.from_bytes(os.urandom(8), "little")
    return torch.from_numpy(np.random.default_rng(seed).normal(size=x.shape).astype(np.float32))


def one_mask(x):
    """The same noise for all rows of the batch."""
    return torch.randn_like(x[:1]).expand_as(x)


class OwnGenerator(nn.Module):
    """Noise from a generator of its own."""

    def __init__(self, model):
        super().__init__()
        self.model, self.generator = model, torch.Generator().manual_seed(0)

    def forward(self, x):
        return self.model(x + 0.15 * torch.randn(x.shape, generator=self.generator))


# name -> (how to break the robust classifier, check, verdict, whether it is declared stochastic)
CANARIES = {
    "answers near-duplicates from memory": (Remembering, "S05", "block", False),
    "memory in a global": (RememberingGlobally, "S05", "block", False),
    "masks run out after four calls": (RunningOut, "S05", "block", True),
    "another answer to every tenth call": (EveryTenth, "S05", "block", False),
    "drifts with every call": (Growing, "S05", "block", False),
    "another answer to a leaf that requires a gradient": (Differentiated, "S06", "block", False),
    "another answer where gradients are recorded": (Recorded, "S06", "block", False),
    "batch norm in train mode": (lambda model: StuckInTraining(model, nn.BatchNorm2d(1)), "S07", "block", False),
    "dropout kept on by train()": (lambda model: StuckInTraining(model, nn.Dropout(0.2)), "S07", "block", True),
    "running statistics follow the queries": (RunningStatistics, "S07", "block", False),
    "functional batch norm of the batch": (BatchStatistics, "S04", "block", False),
    "another answer to a single image": (Alone, "S04", "block", False),
    "another answer to small batches, under noise": (AloneOrNot, "S04", "block", True),
    "edits its input in place": (Editing, "S08", "block", False),
    "noise that no seed repeats": (lambda model: Noisy(model, from_the_system), "S03", "flag", True),
    "noise from a generator of its own": (OwnGenerator, "S03", "flag", True),
    "one mask for the whole batch": (lambda model: Noisy(model, one_mask), "S03", "flag", True),
    "noise, declared deterministic": (lambda model: Noisy(model, torch.randn_like), "S03", "flag", False),
    "Gaussian noise, one draw": (lambda model: Noisy(model, torch.randn_like), "S03", "info", True),
}


@pytest.mark.parametrize("name", CANARIES)
def test_a_defense_that_breaks_the_question_is_named(name, robust, canary):
    """The expected check gives the expected verdict."""
    build, check, verdict, stochastic = CANARIES[name]

    finding = canary(name, build(robust), check, verdict, stochastic=stochastic)

    assert (finding.id, finding.verdict) == (check, verdict), finding.message


def test_labels_by_place_in_the_batch_are_named(robust, test_digits, canary):
    """A lookup by index needs no look at the images, and falls when they change places."""
    finding = canary("labels by place in the batch", ByPlace(robust, test_digits.y), "S04", "block")

    assert finding.verdict == "block"


def test_batch_statistics_in_a_layer_are_seen_in_the_answers_too(robust, canary):
    """Train-mode batch norm is named by its mode (S07) and by its effect (S04)."""
    model = StuckInTraining(robust, nn.BatchNorm2d(1))

    finding = canary("batch norm in train mode, by its effect", model, "S04", "block")

    assert finding.verdict == "block"
