"""S01, S02, S12 and S13: answers that are no logits, no numbers, probabilities, or rounded."""

from __future__ import annotations

import pytest
import torch

from bench.checks.before.scores import coarseness, finite, grid_steps, probabilities, shape
from tests.checks.before.models import Wrapped, on_the_bench


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


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        (lambda self, x, logits: logits, "pass"),
        (lambda self, x, logits: logits[:, :9], "block"),
        (lambda self, x, logits: logits[:, 0], "block"),
        (lambda self, x, logits: logits.argmax(1), "block"),
        (lambda self, x, logits: None, "block"),
        (lambda self, x, logits: 1 / 0, "block"),
    ],
    ids=["logits", "nine of ten", "one number", "labels", "nothing", "an error"],
)
def test_one_row_of_float_logits_per_image_is_asked_for(how, verdict):
    assert shape(on_the_bench(Wrapped(how))).verdict == verdict


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("above", "rows"), [(99.0, 0), (-1.0, 32)])
def test_every_sample_that_gives_no_number_is_counted(value, above, rows):
    def spoiled(self, x, logits):
        return torch.where((x.amax((1, 2, 3)) > above)[:, None], torch.full_like(logits, value), logits)

    found = finite(on_the_bench(Wrapped(spoiled)))

    assert found.value == f"{rows}/32"
    assert (found.verdict == "block") is (rows > 0)


@pytest.mark.parametrize(("corner", "count"), [(True, "32/32"), (False, "32/32"), (None, "0/32")])
def test_a_number_that_is_none_only_near_the_images_is_found(corner, count):
    """Digits are sixteenths: at a corner of the ball all are off by exactly 0.1, with noise by anything."""

    def brittle(self, x, logits):
        off = (16 * x).frac()
        whole = torch.stack([(off - value).abs() < 1e-3 for value in (0, 1, 0.4, 0.6)]).any(0).flatten(1).all(1)
        moved = ((off > 1e-3) & (off < 1 - 1e-3)).flatten(1).any(1)
        spoiled = {True: whole & moved, False: ~whole, None: torch.zeros_like(moved)}[corner]
        return torch.where(spoiled[:, None], torch.nan, logits)

    assert finite(on_the_bench(Wrapped(brittle))).value == count


@pytest.mark.parametrize(
    ("how", "value"),
    [
        (lambda self, x, logits: logits, "logits"),
        (lambda self, x, logits: logits.softmax(1), "probabilities"),
        (lambda self, x, logits: logits.log_softmax(1), "log-probabilities"),
        (lambda self, x, logits: logits.sigmoid(), "logits"),
        (lambda self, x, logits: 2 * logits.softmax(1), "logits"),
    ],
    ids=["logits", "softmax", "log-softmax", "sigmoid", "twice the softmax"],
)
def test_probabilities_are_told_from_logits_by_their_sum(how, value):
    assert probabilities(on_the_bench(Wrapped(how))).value == value


@pytest.mark.parametrize(("decimals", "verdict"), [(0, "flag"), (1, "flag"), (5, "pass")])
def test_logits_that_were_rounded_are_flagged(decimals, verdict):
    """The spread of these logits is about ten: a hundred steps at one decimal, a million at five."""
    assert coarseness(on_the_bench(Wrapped(lambda self, x, logits: logits.round(decimals=decimals)))).verdict == verdict
