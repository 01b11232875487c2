"""How good a training is: shares counted by hand, on models whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bench.datasets.digits import digits
from bench.defenses.training.recipe import read_recipe
from bench.defenses.training.validation import (
    DRAWS,
    mean_accuracy,
    quick_check,
    rounded,
    seeded,
    standard_accuracy,
    watch,
)
from bench.types import Defense


class Constant(nn.Module):
    """Always the same class; `slope` times the brightness is added to the next one."""

    def __init__(self, answer=3, slope=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(slope)]))
        self.answer = answer

    def forward(self, x):
        logits = torch.zeros(len(x), 10)
        logits[:, self.answer] = 1
        other = torch.eye(10)[(self.answer + 1) % 10]
        return logits + self.weight * x.mean((1, 2, 3))[:, None] * other


class Coin(nn.Module):
    """Class 3, or in half of the draws class 4."""

    def forward(self, x):
        return nn.functional.one_hot(3 + (torch.rand(len(x)) < 0.5).long(), 10).float()


@pytest.fixture
def validation():
    return digits("validation").first(96)


def test_an_accuracy_is_the_share_of_right_answers_in_eval_mode(validation):
    """A dropout that would change them is off, and is left off."""
    model = nn.Sequential(nn.Dropout(0.9), Constant()).train()
    x, y = torch.from_numpy(validation.x), torch.from_numpy(validation.y)

    found = mean_accuracy(Defense(model), x, y, draws=5)

    assert found == (validation.y == 3).mean()
    assert not model.training


def test_a_stochastic_defense_is_asked_as_often_as_said_and_another_one_once(validation):
    """A coin is right about half the time, and no majority decides."""
    y = torch.full((len(validation),), 3)
    x, calls = torch.from_numpy(validation.x), []
    model = Coin()
    model.register_forward_hook(lambda *_: calls.append(1))

    with seeded("test"):
        found = mean_accuracy(Defense(model, stochastic=True), x, y, draws=40)
        one = mean_accuracy(Defense(model), x, y, draws=40)

    assert found == pytest.approx(0.5, abs=0.05)
    assert one != found
    assert len(calls) == 41


def test_the_line_of_a_card_says_what_it_is_of(validation):
    share = round(float((validation.y == 3).mean()), 4)

    assert standard_accuracy(Defense(Constant()), validation, "cpu") == {"split": "validation", "n": 96, "value": share}
    assert standard_accuracy(Defense(Coin(), stochastic=True), validation, "cpu")["draws"] == DRAWS


def test_seeding_is_undone_and_repeats(validation):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    drawn = []
    for scope in (("a", 1), ("a", 1), ("a", 2)):
        with seeded(*scope):
            drawn.append(torch.rand(4))

    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_whoever_does_not_look_has_nothing_computed(validation):
    class Untouchable(nn.Module):
        def forward(self, x):
            raise AssertionError("asked")

    watch("standard", Defense(Untouchable()), validation, "Linf:0.2", "cpu", None)(1, 2, {}, 0.0)


def bearable(examples, slope, eps):
    """The share of the images that a `Constant` gets right wherever in the ball and the box they are moved."""
    brightest = np.clip(examples.x + eps, 0, 1).mean((1, 2, 3))
    darkest = np.clip(examples.x - eps, 0, 1).mean((1, 2, 3))
    right = ((examples.y == 3) & (slope * brightest < 1)) | ((examples.y == 4) & (slope * darkest > 1))
    return right.mean()


@pytest.mark.parametrize("threat", ["", "Linf:0.05"])
def test_what_is_shown_after_an_epoch_is_measured_then(validation, threat):
    """A training that is watched draws the same numbers as one that is not."""
    seen, slope = [], 2.6
    on_epoch = watch("standard", Defense(Constant(slope=slope)), validation, threat, "cpu", seen.append)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    on_epoch(5, 10, {"loss": 1.5}, 3.0)

    (progress,) = seen
    assert (progress.stage, progress.step, progress.steps, progress.losses) == ("standard", 5, 10, {"loss": 1.5})
    assert progress.seconds_left == 3
    assert progress.accuracy == bearable(validation, slope, 0)
    assert progress.robust_accuracy == (bearable(validation, slope, 0.05) if threat else None)
    assert torch.equal(torch.rand(2), expected)


def test_a_quick_check_finds_what_can_be_borne_under_a_named_attack(validation):
    """Nothing where there is no threat model to validate on."""
    defense = Defense(Constant(slope=2.6))

    found = quick_check(defense, "Linf:0.05", validation, 0, "cpu")

    assert quick_check(defense, "", validation, 0, "cpu") == {}
    assert (found["n"], found["threat"], found["attack"]) == (96, "Linf:0.05", "pgd-20, momentum 0.75, EOT 1")
    assert found["standard_accuracy"] == round(bearable(validation, 2.6, 0), 4)
    assert found["robust_accuracy"] == round(bearable(validation, 2.6, 0.05), 4)
    assert 0 < found["robust_accuracy"] < found["standard_accuracy"]


def test_the_answers_that_rounding_changes_are_counted(validation):
    """A slope of 1.9998 becomes 2: images that are a little brighter than gray, and no others, change their class."""
    brightness = np.array([0.4, 0.4999, 0.50001, 0.50002, 0.50004, 0.5001, 0.6], dtype=np.float32)
    gray = np.broadcast_to(brightness[:, None, None, None], (7, 1, 8, 8)).copy()
    examples = replace(validation.first(7), x=gray)
    model = Constant(slope=1.9998)
    recipe = read_recipe("standard", "digits", {"validation_threat": ""})

    first, second = (rounded(model, Defense(model), recipe, examples, 0, "cpu") for _ in range(2))

    assert first == {"n": 7, "changed": 3}
    assert second == {"n": 7, "changed": 0}
    assert model.weight.tolist() == [2.0]
