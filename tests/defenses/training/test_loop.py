"""The loop of every training: learning rate and averaged weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.defenses.training.loop import WARM_UP, _Pace, fit, one_cycle
from bench.defenses.training.recipe import read_recipe
from tests.defenses.training.small import batch


def test_the_average_of_the_weights_is_what_is_kept():
    """That recursion over the weights after every update: the decay grows to 0.5, so the first ones are forgotten."""
    x, y = batch("train", 128)
    recipe = read_recipe("standard", "digits", {"epochs": "3", "batch_size": "32", "ema": "0.5"})
    model, seen = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), []

    def step(images, labels):
        seen.append(model[1].weight.detach().clone())
        loss = F.cross_entropy(model(images), labels)
        return loss, {"cross-entropy": loss}

    torch.manual_seed(0)
    fit(model, step, x, y, recipe, lambda done, total, losses, left: seen.append(model[1].weight.detach().clone()))

    after = [*seen[1:4], *seen[4:5], *seen[6:9], *seen[9:10], *seen[11:14], *seen[14:15]]
    average = after[0]
    decays = [2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5, 0.5, 0.5]
    for decay, weight in zip(decays, after[1:], strict=True):
        average = decay * average + (1 - decay) * weight
    assert len(after) == 12
    assert torch.allclose(model[1].weight, average, atol=1e-6)
    assert not torch.allclose(model[1].weight, after[-1], atol=1e-4)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    """One cycle: the peak is the recipe's rate, the end is close to zero."""
    rates = [one_cycle(step / 100) for step in range(101)]

    peak = rates.index(max(rates))
    assert peak == round(100 * WARM_UP)
    assert max(rates) == pytest.approx(1)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[0] == pytest.approx(0.04)


def test_the_time_left_is_that_of_the_updates_of_this_call():
    """30 of 90 were made by an earlier call: 10 in 20 s, so 50 more take 100 s."""
    now = [1000.0]
    pace = _Pace(30, 90, lambda: now[0])

    now[0] += 20

    assert pace.left(40) == 100
    assert pace.left(88) == pytest.approx(20 / 58 * 2)


def test_every_epoch_says_how_much_time_is_left():
    """Less each time, and none after the last one."""
    x, y = batch("train", 64)
    recipe = read_recipe("standard", "digits", {"epochs": "3", "batch_size": "32"})
    model, seen = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), []

    def step(images, labels):
        return F.cross_entropy(model(images), labels), {}

    fit(model, step, x, y, recipe, lambda done, total, losses, left: seen.append((done, total, left)))

    assert [each[:2] for each in seen] == [(2, 6), (4, 6), (6, 6)]
    assert seen[0][2] > 0
    assert seen[1][2] > 0
    assert seen[2][2] == 0
