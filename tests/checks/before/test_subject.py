"""What the checks of the preflight are made of: fresh instances, equal answers, exact tests, grids."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.checks.before.pristine import Pristine
from bench.checks.before.subject import Subject, gap
from bench.datasets.digits import digits
from bench.types import Defense


def on_the_bench(defense, examples=None):
    return Subject(defense, examples or digits("test"), 0.1, Pristine(defense.model, "cpu"))


@pytest.fixture
def subject(small_cnn):
    return on_the_bench(Defense(small_cnn()))


def test_the_gap_of_answers_counts_nan_as_itself():
    """NaN beside NaN is no change, NaN beside a number is an infinite one."""
    a = torch.tensor([[1.0, torch.nan], [1.0, torch.nan], [torch.inf, 0.0]])
    b = torch.tensor([[1.5, torch.nan], [1.0, 0.0], [torch.inf, 0.25]])

    assert gap(a, b).tolist() == [0.5, math.inf, 0.25]


def test_answers_differ_beyond_a_thousandth_of_their_spread(subject):
    logits = torch.zeros(5, 10)
    logits[:, 0] = 8

    assert not subject.differing(logits, logits + 0.0079).any()
    assert subject.differing(logits, logits + 0.0081).all()


def test_a_row_of_equal_logits_is_measured_by_the_others(subject):
    """Cancellation leaves a row no spread of its own, and rounding as large as elsewhere."""
    logits = torch.zeros(5, 10)
    logits[1:, 0] = 8

    assert not subject.differing(logits, logits + 0.005).any()


def test_logits_far_from_zero_may_lose_digits(subject):
    """At a million float32 has steps of 1/16: that is for S13 to say, not for S04."""
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(0)) + 1e6

    assert not subject.differing(logits, logits + 0.125).any()
    assert subject.differing(logits - 1e6, logits - 1e6 + 0.125).any()


def test_low_precision_is_seen_wherever_it_happens(small_cnn):
    """In the weights, under autocast, or in one functional step between two of float32."""

    class Wrapped(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.model, self.how = small_cnn(), how

        def forward(self, x):
            return self.how(self.model, x)

    def autocast(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).float()

    ways = {
        "float32": lambda model, x: model(x),
        "autocast": autocast,
        "one step": lambda model, x: model(x.half().float()),
        "weights": lambda model, x: model.bfloat16()(x.bfloat16()),
    }

    seen = {name: on_the_bench(Defense(Wrapped(how))).low_precision for name, how in ways.items()}

    assert seen == {"float32": False, "autocast": True, "one step": True, "weights": True}


def test_a_gpu_counts_as_low_precision(subject):
    """TF32 is on there unless somebody has turned it off."""
    assert not subject.low_precision
    del subject.low_precision
    subject.device = "cuda"

    assert subject.low_precision


def test_noise_belongs_to_the_example(small_cnn):
    """The first images of a longer slice get the same noise, and none leaves the ball or the box."""
    short = on_the_bench(Defense(small_cnn()), digits("test").first(8))
    long = on_the_bench(Defense(small_cnn()))

    for signs in (False, True):
        noisy = long.noisy("any", signs=signs)
        assert torch.equal(noisy[:8], short.noisy("any", signs=signs))
        assert (noisy - long.x).abs().max() <= 0.1 + 1e-6
        assert noisy.min() >= 0
        assert noisy.max() <= 1
    assert torch.equal(long.noisy("any", signs=True).sub(long.x).abs().amax((1, 2, 3)) > 0.099, torch.ones(64) > 0)


def test_the_subject_offers_what_a_defense_declares(small_cnn):
    """A declared stand-in for the backward pass changes the advice of S09."""
    model = small_cnn()
    plain, with_surrogate = Defense(model), Defense(model, surrogate=model)

    offers = [on_the_bench(each).has_substitute for each in (plain, with_surrogate)]

    assert offers == [False, True]
