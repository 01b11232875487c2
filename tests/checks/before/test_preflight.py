"""The preflight as a whole: what it returns, what it leaves alone, what it does without an answer."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.types import Defense

IDS = [f"S{number:02d}" for number in range(1, 18)]


@pytest.fixture(scope="module")
def examples():
    return digits("test").first(64)


@pytest.fixture(scope="module")
def held_out():
    return digits("validation").first(64)


class Tally:
    """Rows that passed through any copy of a `Counting`."""

    forwards = backwards = 0


class Counting(nn.Module):
    """Counts its passes, and adds noise to images."""

    def __init__(self, model, noise=0.0):
        super().__init__()
        self.model, self.noise = model, noise

    def forward(self, x):
        Tally.forwards += len(x)
        logits = self.model(x + self.noise * torch.randn_like(x))
        if logits.requires_grad:
            logits.register_hook(count_backward)
        return logits


def count_backward(grad):
    Tally.backwards += len(grad)
    return grad


class Uncopyable(nn.Module):
    """A model that refuses to be copied, and remembers what it was asked if `model` does."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def __deepcopy__(self, memo):
        raise TypeError("there can be only one")

    def forward(self, x):
        return self.model(x)


class Forgetful(nn.Module):
    """Its logits shrink with every call."""

    def __init__(self, model):
        super().__init__()
        self.model, self.calls = model, 0

    def forward(self, x):
        self.calls += 1
        return self.model(x) / self.calls


def by_id(findings):
    return {finding.id: finding for finding in findings}


def test_there_is_one_finding_per_check_in_order(small_cnn, examples, held_out):
    """S01 to S17; each message is one line that begins with the id, and value and threshold are short."""
    findings = preflight(Defense(small_cnn()), examples, held_out)

    assert [finding.id for finding in findings] == IDS
    for finding in findings:
        assert finding.message.startswith(f"{finding.id}: ")
        assert "\n" not in finding.message
        assert len(finding.value) < 40
        assert len(finding.threshold) < 40


def test_the_same_question_gets_the_same_findings(small_cnn, examples, held_out):
    """Nothing depends on the state of the global generators."""
    defense = Defense(Counting(small_cnn(), 0.1), stochastic=True)

    first = preflight(defense, examples, held_out)
    torch.manual_seed(99)
    second = preflight(defense, examples, held_out)

    assert first == second


@pytest.mark.parametrize("wrap", [nn.Sequential, Uncopyable], ids=["copied", "itself"])
def test_the_callers_generators_and_modes_are_left_as_found(small_cnn, examples, wrap):
    """Torch, numpy and random go on where they were; a model in train mode still is."""
    model = wrap(nn.Sequential(nn.Dropout(0.1), small_cnn()))
    model.train()
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)
    expected = torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)

    findings = preflight(Defense(model), examples)

    assert (torch.rand(1), np.random.rand(), random.random()) == expected  # noqa: NPY002
    assert all(module.training for module in model.modules())
    assert by_id(findings)["S07"].passed


def test_the_defense_itself_is_not_asked(small_cnn, examples, held_out):
    """All queries go to copies: no hidden memory of the caller's model is filled, no gradient is left."""
    model = Forgetful(small_cnn())

    findings = by_id(preflight(Defense(model), examples, held_out))

    assert model.calls == 0
    assert findings["S05"].verdict == "block"
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_cannot_be_copied_is_checked_itself(small_cnn, examples, held_out):
    """The honest one passes and says so; without a fresh instance a drift looks like randomness."""
    honest = by_id(preflight(Defense(Uncopyable(small_cnn())), examples, held_out))
    broken = by_id(preflight(Defense(Uncopyable(Forgetful(small_cnn()))), examples, held_out))

    assert not [finding for finding in honest.values() if finding.alarming]
    assert "cannot be copied" in honest["S05"].message
    assert broken["S03"].verdict == "flag"


def test_without_an_answer_nothing_else_is_claimed(examples, held_out):
    """A defense that raises is blocked by S02, and every other check says that it did not run."""

    class Raising(nn.Module):
        def forward(self, x):
            raise ZeroDivisionError("no\nanswer")

    findings = by_id(preflight(Defense(Raising()), examples, held_out))

    assert findings["S02"].verdict == "block"
    assert findings["S02"].message == "S02: the defense raised ZeroDivisionError: no answer"
    assert {finding.verdict for id_, finding in findings.items() if id_ not in ("S02", "S07")} == {"info"}


def test_a_check_that_cannot_run_says_so(small_cnn, examples):
    """No held-out images, no declared accuracy: information, not approval."""
    findings = by_id(preflight(Defense(small_cnn()), examples))

    for id_ in ("S15", "S16"):
        assert findings[id_].verdict == "info"
        assert "not checked" in findings[id_].message


def test_an_error_in_the_midst_of_a_check_is_its_finding(small_cnn, examples, held_out):
    """A defense that refuses small batches fails where its answers are compared with those of one image."""

    class Refusing(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            if len(x) == 1:
                raise ValueError("I need company")
            return self.model(x)

    findings = by_id(preflight(Defense(Refusing(small_cnn())), examples, held_out))

    assert findings["S04"].verdict == "block"
    assert findings["S04"].message == "S04: the defense raised ValueError: I need company"
    assert findings["S06"].passed


def test_a_forward_that_fails_with_gradients_is_named_by_s06(small_cnn, examples, held_out):
    """It cannot be attacked, and what needs its gradient says so."""

    class Shy(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            if torch.is_grad_enabled():
                raise RuntimeError("do not look")
            return self.model(x)

    findings = by_id(preflight(Defense(Shy(small_cnn())), examples, held_out))

    assert findings["S06"].verdict == "block"
    assert [findings[id_].verdict for id_ in ("S09", "S10", "S11")] == ["info"] * 3


@pytest.mark.parametrize("n", [1, 3, 17])
def test_a_few_examples_are_enough(small_cnn, n, held_out):
    """A slice of any size can be checked."""
    findings = preflight(Defense(small_cnn()), digits("test").first(n), held_out)

    assert not [finding for finding in findings if finding.alarming]


@pytest.mark.parametrize(("noise", "forwards", "backwards"), [(0.0, 90, 16), (0.1, 95, 16)])
def test_the_cost_is_a_few_dozen_passes(robust_digits, examples, held_out, noise, forwards, backwards):
    """In batches of 64, no more than the module's documentation says, with one batch for the accuracy."""
    Tally.forwards = Tally.backwards = 0
    defense = Defense(Counting(robust_digits[0], noise), stochastic=noise > 0)

    preflight(defense, examples, held_out, eps=0.2, declared_accuracy=0.9)

    assert Tally.forwards <= 64 * forwards
    assert Tally.backwards <= 64 * backwards
