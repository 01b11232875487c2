"""S11 and what S09 calls certain, on functions whose slopes are known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.checks.before.places import places
from bench.checks.before.pristine import Pristine
from bench.checks.before.subject import Subject
from bench.checks.before.truth import examine, look
from bench.datasets.examples import Examples
from bench.types import Defense, ImageSpec

WEIGHT = torch.where(torch.arange(64) % 3 == 0, -1.0, 1.0).view(8, 8)
LEFT = (torch.arange(8) < 4).expand(8, 8)


class Lead(nn.Module):
    """Two classes; `function(x)` is the lead of the second one."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        lead = self.function(x)
        return torch.stack([torch.zeros_like(lead), lead], 1)


@pytest.fixture
def gray(images):
    return images(32)


@pytest.fixture
def subject_of(gray):
    """Put a function on the bench of the preflight."""

    def build(function, x=gray, eps=8 / 255):
        y = torch.zeros(len(x), dtype=torch.int64)
        ids = [f"image-{index}" for index in range(len(x))]
        examples = Examples("known", "test", ids, x.numpy(), y.numpy(), ImageSpec(tuple(x.shape[1:]), 2))
        model = Lead(function)
        return Subject(Defense(model), examples, eps, Pristine(model, "cpu"))

    return build


def linear(x, weight=WEIGHT):
    return (x * weight).flatten(1).sum(1)


def bent(x, weight=WEIGHT):
    """Nearly linear, and on coarse steps not quite."""
    return linear((x - 0.5) + 20 * (x - 0.5) ** 3, weight)


def without(mask, x):
    """No gradient where the mask is set."""
    return torch.where(mask, x.detach(), x)


def straight_through(function, x):
    return x + (function(x) - x).detach()


def seen(subject):
    return [look(subject, place) for place in places(subject)]


@pytest.mark.parametrize("steep", [0.25, 0.5, 1, 2, 6, 18])
def test_what_is_missing_is_the_share_of_the_slope(steep, subject_of):
    """Of four pixels, of slopes 1, 2, 3 and this: each is a part, so every random step shows its slope in full."""
    first = torch.tensor([[True, False], [False, False]])
    weight = torch.tensor([[steep, -1.0], [2.0, 3.0]])
    subject = subject_of(lambda x: bent(without(first, x), weight), torch.full((32, 1, 2, 2), 0.45))
    share = steep / (steep + 6)

    for each in seen(subject)[1:]:  # where only the slope divides an image
        assert each.rung.off == pytest.approx(share, abs=0.02)
        assert each.state == ("masked" if share > 0.15 else "true")
        if each.state == "masked":
            assert each.rung.missing == pytest.approx(share, abs=0.02)
            assert each.rung.where == "the flattest quarter of the pixels by slope"


@pytest.mark.parametrize(
    "function",
    [
        linear,
        lambda x: 3 * (x - 0.3).square().flatten(1).sum(1) + linear(x),
        lambda x: linear((20 * (x - 0.5)).tanh()),
        lambda x: linear((x - 0.5).relu()),
        lambda x: linear(x, WEIGHT * LEFT),
        lambda x: 1e-4 * linear(x),
    ],
    ids=["linear", "quadratic", "steep tanh", "kinks", "no slope in half of the pixels", "tiny"],
)
def test_a_true_gradient_is_seen_on_the_lowest_rungs(function, subject_of):
    for each in seen(subject_of(function)):
        assert each.state == "true"
        assert each.rung.h <= 4e-4
        assert each.rung.off < 0.08


@pytest.mark.parametrize("levels", [15, 31, 255])
def test_a_staircase_with_the_slope_of_its_steps_is_not_masked_from_near(levels, subject_of, gray):
    """From the middle of the steps, or near it, the lowest rungs see no slope at all, or rare jumps."""

    def rounded(x):
        return (levels * x).round() / levels

    for each in seen(subject_of(lambda x: linear(straight_through(rounded, x)), rounded(gray))):
        assert each.state != "masked"


def test_a_staircase_with_the_slope_turned_around_is_masked(subject_of):
    """No rung tells, so the gradient must rise along its own sign at the least."""
    subject = subject_of(lambda x: linear(-x + ((7 * x).round() / 7 + x).detach()))

    assert "masked" in {each.state for each in seen(subject)}


@pytest.mark.parametrize(
    "function", [lambda x: x + 0.004 * (400 * x).sin(), lambda x: (31 * x).round() / 31], ids=["ripples", "rounding"]
)
def test_what_hides_the_slope_of_a_part_is_found_a_good_part_of_eps_away(function, subject_of, gray):
    """The gradient is true in small steps; at an eighth of eps it tells nothing of the left half."""
    subject = subject_of(lambda x: linear(torch.where(LEFT, function(x), x)), (31 * gray).round() / 31, eps=0.2)

    found = [each for each in seen(subject) if each.far]

    assert found
    assert {each.state for each in found} == {"masked"}
    assert found[0].rung.h == pytest.approx(0.025)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_a_few_images_may_stray_and_no_more(count, subject_of, gray):
    """Those with a bright corner have the slope of a single row."""
    gray[:, :, 0, 0] = 0.4
    gray[:count, :, 0, 0] = 0.8
    rows = (torch.arange(8)[:, None] > 0).expand(8, 8)
    subject = subject_of(lambda x: bent(without(rows & (x[:, :, :1, :1] > 0.7), x)), gray)

    first = seen(subject)[0]

    assert first.state == ("masked" if count > 2 else "true")
    assert first.rung.strays == count
    finding = examine(subject, torch.ones_like(gray), places(subject))
    assert finding.verdict == ("flag" if count > 2 else "pass")


def test_rounding_in_low_precision_is_not_masked(subject_of):
    """In bfloat16 small steps are lost."""
    subject = subject_of(lambda x: linear(x.bfloat16().float()))

    for each in seen(subject):
        assert each.state != "masked"
        assert each.rung.h > 6e-3


@pytest.mark.parametrize(("left", "verdict"), [(0.0, "flag"), (0.2, "flag"), (0.3, "pass"), (1.0, "pass")])
def test_a_gradient_that_is_gone_exactly_at_the_images_is_flagged(left, verdict, subject_of, gray):
    """Half of the pixels are black; there this much is left of what it is a hair beside."""
    gray[:, :, :4] = 0
    subject = subject_of(linear, gray)
    exact = WEIGHT.expand_as(gray).clone()
    exact[:, :, :4] *= left

    finding = examine(subject, exact, places(subject))

    assert finding.verdict == verdict
    assert (f"of pixels at 0 is {left:.0%}" in finding.message) == (verdict == "flag")


def test_answers_that_do_not_repeat_are_not_examined(subject_of, gray):
    subject = subject_of(lambda x: linear(x.detach()))
    subject.repeatable = False

    assert examine(subject, torch.zeros_like(gray), ()).verdict == "info"
