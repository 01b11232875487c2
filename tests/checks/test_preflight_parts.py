"""What the checks of the preflight are made of: fresh instances, equal answers, exact tests, grids."""

from __future__ import annotations

import math
from collections import deque
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from bench.checks.labels import fisher
from bench.checks.pristine import Pristine, holds_generator
from bench.checks.scores import grid_steps
from bench.checks.subject import Subject, gap
from bench.datasets.digits import digits
from bench.types import Defense

CALLS = 0
LAST = None
NOTES: dict[str, list[int]] = {"deep": []}
QUEUE: deque[int] = deque(maxlen=3)
ARRAY = np.zeros(3)
TENSOR = torch.zeros(3)


def take_note():
    """Writes to globals of a module, at second hand."""
    global LAST
    LAST = len(NOTES["deep"])
    NOTES["deep"].append(LAST)
    QUEUE.append(LAST)
    ARRAY[0] += 1
    TENSOR[0] += 1


def closure():
    count = 0
    seen = []

    def note(x, default=[]):  # noqa: B006  (what is undone here)
        nonlocal count
        count += 1
        seen.append(count)
        default.append(count)
        return x

    return note, lambda: (count, len(seen), len(note.__defaults__[0]))


class Remembering(nn.Module):
    """Writes wherever Python lets it."""

    total = 0
    log: list[int] = []  # noqa: RUF012  (what is undone here)

    def __init__(self, note):
        super().__init__()
        self.note, self.own = note, 0

    def forward(self, x):
        global CALLS
        CALLS += 1
        self.own += 1
        type(self).total += 1
        self.log.append(self.total)
        take_note()
        return self.note(x)


def memories():
    return (
        CALLS,
        LAST,
        len(NOTES["deep"]),
        len(QUEUE),
        float(ARRAY[0]),
        float(TENSOR[0]),
        Remembering.total,
        len(Remembering.log),
    )


def test_a_fresh_instance_lives_in_the_world_before_the_first_query():
    """Attributes, class attributes, globals (also of helpers), closures and defaults are as they were."""
    note, of_closure = closure()
    model = Remembering(note)
    origin = Pristine(model, "cpu")
    before = memories(), of_closure()

    for _ in range(2):
        instance = origin.fresh()
        instance(torch.zeros(1))
        instance(torch.zeros(1))
        assert instance.own == 2
        assert memories()[0] == before[0][0] + 2
        assert memories() != before[0]
    origin.restore_world()

    assert (memories(), of_closure()) == before
    assert model.own == 0


def test_a_fresh_instance_is_in_eval_mode_and_the_model_is_not_touched():
    model = nn.Sequential(nn.Dropout()).train()

    instance = Pristine(model, "cpu").fresh()

    assert not instance[0].training
    assert model[0].training


@pytest.mark.parametrize(
    "generator", [torch.Generator(), np.random.default_rng(0), np.random.RandomState(0)], ids=["torch", "new", "legacy"]
)
def test_a_generator_of_its_own_is_found(generator):
    """In an attribute or in a closure."""
    inside, around = nn.Identity(), nn.Identity()
    inside.generator = generator
    around.draw = lambda: generator

    assert holds_generator(nn.Sequential(inside))
    assert holds_generator(nn.Sequential(around))
    assert not holds_generator(nn.Sequential(nn.Identity()))


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


@pytest.mark.parametrize(("a", "n", "b", "m"), [(64, 64, 50, 64), (3, 10, 4, 12), (0, 5, 2, 5), (5, 5, 0, 5)])
def test_the_exact_test_of_two_shares_is_the_hypergeometric_tail(a, n, b, m):
    """Counted out with binomial coefficients."""
    total = math.comb(n + m, a + b)
    ways = sum(math.comb(n, k) * math.comb(m, a + b - k) for k in range(a, min(n, a + b) + 1))

    assert fisher(a, n, b, m) == pytest.approx(float(Fraction(ways, total)), rel=1e-9)


def test_a_grid_is_known_by_its_steps():
    """Quarters over a spread of 15 are 60 steps; the same values in float32 or bfloat16 are on no grid."""
    logits = 3 * torch.randn(64, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def steps(values):
        return grid_steps(values.amax(1, keepdim=True) - values)[0]

    spread = float((logits.amax(1) - logits.amin(1)).median())
    assert steps((logits * 4).round() / 4) == pytest.approx(4 * spread, rel=0.1)
    assert steps(((logits * 4).round() / 4).log_softmax(1).float().double()) == pytest.approx(4 * spread, rel=0.1)
    assert steps((logits.float() + 1e6).double()) == pytest.approx(16 * spread, rel=0.1)
    assert steps(torch.nn.functional.one_hot(logits.argmax(1), 10).double()) == 1
    assert steps(torch.zeros(64, 10, dtype=torch.float64)) == 0
    assert steps(logits.float().double()) > 1e5
    assert steps(logits.bfloat16().double()) > 512
    assert steps(logits.half().double()) > 512


def test_the_subject_offers_what_a_defense_declares(small_cnn):
    """A declared stand-in for the backward pass changes the advice of S09."""
    model = small_cnn()
    plain, with_surrogate = Defense(model), Defense(model, surrogate=model)

    offers = [on_the_bench(each).has_substitute for each in (plain, with_surrogate)]

    assert offers == [False, True]
