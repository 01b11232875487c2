"""S11 and what S09 calls certain, on functions whose slopes are known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.checks.certain import certain
from bench.checks.places import divisions, places
from bench.checks.pristine import Pristine
from bench.checks.subject import Subject
from bench.checks.truth import examine, look
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


@pytest.mark.parametrize(("channels", "kinds"), [(1, 3), (3, 4)])
def test_every_pixel_is_in_one_part_of_each_kind(channels, kinds, subject_of, images):
    x = (5 * images(32, (channels, 9, 7)) - 2).clamp(0, 1)  # with black pixels and white ones
    place = places(subject_of(lambda x: x.flatten(1).sum(1), x))[0]

    found = divisions(place)

    assert len(found) == kinds
    for parts in found.values():
        assert torch.equal(sum(part.mask.int() for part in parts), torch.ones_like(place.x, dtype=torch.int32))


# Constant images: how bright each is.
SLOPING = [0.5, 0.51, 0.52, 0.53, 0.54]
EPS = 0.2


def clamped(x):
    """Logits of which the second leads from a mean of 0.5 on, by 1 and no more from 0.55 on."""
    lead = (20 * (x.mean((1, 2, 3)) - 0.5)).clamp(-1, 1)
    return torch.stack([torch.zeros_like(lead), lead], 1)


def unclamped(x):
    lead = 20 * (x.mean((1, 2, 3)) - 0.5)
    return torch.stack([torch.zeros_like(lead), lead], 1)


def sure(ask, x, y, grad, noise):
    """What `certain` says of images that are asked about as they are, within EPS."""

    def reach(images, direction):
        return (images + EPS * direction).clamp(0, 1)

    return certain(lambda images, _rows: ask(images), reach, x, x, y, grad, noise)


def found(brightness, ask=clamped, flat=None, label=1, slope=-20 / 64):
    """What `certain` says of constant images; those are flat that `clamped` is flat at, if it is not said otherwise."""
    x = torch.tensor(brightness)[:, None, None, None].expand(-1, 1, 8, 8).clone()
    y = torch.full((len(x),), 1)
    y[0] = label
    flat = [each >= 0.55 for each in brightness] if flat is None else flat
    grad = torch.where(torch.tensor(flat)[:, None, None, None], 0.0, slope).expand_as(x)
    noise = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 1
    return sure(ask, x, y, grad, noise).tolist()


def test_an_image_is_certain_if_nothing_within_eps_changes_its_answer():
    """At 0.9 the mean is 0.7 in the worst case; at 0.65 it is 0.45, which is another class."""
    assert found([0.9, 0.65, *SLOPING]) == [True, False] + 5 * [False]


def test_an_image_that_breaks_towards_another_is_not_certain():
    """Whatever gradients the others lend: here they point the wrong way."""
    assert not any(found([0.65, *SLOPING], slope=20 / 64))


def test_an_image_that_breaks_along_the_gradient_of_another_is_not_certain():
    """Towards the others it does not: in most pixels they are further on the right side, in the others far behind."""
    side = torch.where(torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    behind = torch.where(torch.arange(64).view(1, 8, 8) % 5 < 2, -0.21, 0.01)
    x = 0.5 + 0.1 * side + torch.stack([0 * side, *5 * [side * behind]])
    grad = torch.stack([0 * side, *5 * [-side]])

    def ask(x):
        return clamped(0.5 + (x - 0.5) * side)

    towards, along = (ask((x[:1] + EPS * step).clamp(0, 1)).argmax(1) for step in ((x[1:2] - x[:1]).sign(), -side))

    assert (towards, along) == (1, 0)
    assert not any(sure(ask, x, torch.ones(6, dtype=torch.int64), grad, side.expand_as(x)))


def test_an_image_that_moves_in_small_steps_is_not_certain():
    """Its gradient is zero, and its slope is not: that is masked, though eps breaks nothing."""
    assert found([0.9, *SLOPING], unclamped, [True] + 5 * [False]) == 6 * [False]
    assert found([0.9, *SLOPING], clamped, [True] + 5 * [False])[0]


def test_a_wrong_answer_is_not_certain():
    assert found([0.9, *SLOPING])[0]
    assert not any(found([0.9, *SLOPING], label=0))


def test_where_more_than_half_is_flat_nothing_is_certain():
    """There is too little to guess from."""
    assert sum(found(5 * [0.9] + SLOPING)) == 5
    assert sum(found(6 * [0.9] + SLOPING)) == 0


def test_an_answer_that_is_no_number_is_not_certain():
    def broken(x):
        return torch.where(x.mean((1, 2, 3)) > 0.8, torch.nan, clamped(x).T).T

    assert not any(found([0.9, *SLOPING], broken))
