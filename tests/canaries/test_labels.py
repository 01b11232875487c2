"""Defenses that take another kind of image, or know the test set: each is named by the right check."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn
from torch.nn import functional as F

from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.datasets.examples import Examples
from bench.types import Defense, ImageSpec


class Scaled(nn.Module):
    """Expects images that are `scale * x + offset`."""

    def __init__(self, model, scale, offset=0.0):
        super().__init__()
        self.model, self.scale, self.offset = model, scale, offset

    def forward(self, x):
        return self.model((x - self.offset) / self.scale)


class Lookup(nn.Module):
    """Knows the labels of the benchmark by the nearest image, and asks the model about the rest.

    `answer(logits, labels)` is what it says of images within `radius` (Linf) of the nearest one it knows.
    """

    def __init__(self, model, known, answer, radius):
        super().__init__()
        self.model, self.answer, self.radius = model, answer, radius
        self.x, self.y = torch.from_numpy(known.x), torch.from_numpy(known.y)

    def forward(self, x):
        logits = self.model(x)
        far = (x.detach()[:, None] - self.x[None]).flatten(2)
        nearest = far.square().sum(2).argmin(1)
        known = far.abs().amax(2).gather(1, nearest[:, None]) <= self.radius
        return torch.where(known, self.answer(logits, F.one_hot(self.y[nearest], 10).float()), logits)


def certain(logits, labels):
    """The label and nothing else."""
    return 10 * labels + 0 * logits


def nudged(logits, labels):
    """Logits with their gradient, in which the true label is a little ahead of its best rival."""
    others = (logits - 1e9 * labels).amax(1, keepdim=True)
    return logits + labels * (others - logits + 1.5).clamp_min(0).detach()


class Chance(nn.Module):
    """Knows nothing, with a gradient."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(x.flatten(1))


TWO_CLASSES = ImageSpec((1, 8, 8), 2)

# name -> (how to break the robust classifier, check, verdict)
CANARIES = {
    "expects [0, 255]": (lambda model, _: Scaled(model, 255), "S14", "block"),
    "expects [-1, 1]": (lambda model, _: Scaled(model, 2, -1), "S14", "block"),
    "expects standardized images": (lambda model, _: Scaled(model, 1 / 0.25, -0.49 / 0.25), "S14", "block"),
    "looks up above chance": (lambda _, known: Lookup(Chance(), known, certain, 0.201), "S16", "block"),
}


@pytest.mark.parametrize("name", CANARIES)
def test_a_defense_that_takes_other_images_or_knows_these_is_named(name, robust, test_digits, canary):
    """The expected check gives the expected verdict."""
    build, check, verdict = CANARIES[name]

    finding = canary(name, build(robust, test_digits), check, verdict)

    assert (finding.id, finding.verdict) == (check, verdict), finding.message


@pytest.fixture(scope="module")
def unlearnable():
    """192 images of noise with labels that nothing but a lookup can know; the second half is held out."""
    rng = np.random.default_rng(0)
    x, y = rng.random((192, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 192)
    return Examples("noise", "test", [f"noise-{index}" for index in range(192)], x, y, ImageSpec((1, 8, 8), 10))


def test_a_lookup_of_the_nearest_image_is_named(unlearnable, robust, canary):
    """However far an image is, it gets the label of the nearest one of the benchmark."""
    known, others = unlearnable.part(0, 96), unlearnable.part(96, 192)
    model = Lookup(robust, known, certain, np.inf)

    finding = canary("looks up the nearest test image", model, "S16", "block", examples=known, others=others)

    assert "100% on the benchmark" in finding.message


def test_a_lookup_that_is_a_good_classifier_is_named_by_how_long_its_answers_last(robust, canary):
    """The nearest of all test digits is right on digits it has never seen, too."""
    model = Lookup(robust, digits("test"), certain, np.inf)
    known, others = digits("test").first(128), digits("validation").first(128)

    finding = canary("looks up the nearest of all test digits", model, "S16", "block", examples=known, others=others)

    assert "last 45% of the way" in finding.message


def test_a_lookup_that_gains_no_accuracy_is_named_by_its_margins(robust, test_digits, canary):
    """Above a classifier that is right anyway, at an eps that does not matter to it."""
    model = Lookup(robust, test_digits, certain, 0.201)

    finding = canary("looks up above a robust classifier", model, "S16", "block", eps=8 / 255)

    assert "margins are ahead" in finding.message


def test_a_lookup_of_exact_images_is_named_by_its_accuracy(robust, test_digits, canary):
    """It lifts what a weak classifier gets wrong just over the boundary, and moves no other margin."""

    class Weak(nn.Module):
        def forward(self, x):
            return robust(0.45 * x)

    model = Lookup(Weak(), test_digits, nudged, 1e-6)

    finding = canary("looks up exact images above a weak classifier", model, "S16", "block")

    assert "100% on the benchmark" in finding.message
    assert "ahead" not in finding.message


def test_a_nudge_that_shows_under_attack_alone_is_named(shipped, test_digits, canary):
    """Clean margins are nearly all the classifier's own; three gradient steps tell which images it knows."""
    model = Lookup(shipped("standard").model, test_digits, nudged, 0.201)

    finding = canary("nudges the logits of known images", model, "S16", "block")

    assert "after 3 gradient steps" in finding.message


def test_a_declared_accuracy_that_is_not_measured_is_named(shipped, canary):
    """AToP under RT2 is right on 90 % of the digits; its card could not claim 96."""
    finding = canary("declares 96 % instead of 90", shipped("atop", rt="2"), "S15", "flag", declared_accuracy=0.96)

    assert finding.verdict == "flag"


class ColorAndHalf(nn.Module):
    """Class 2c + h: channel c is bright in half h. It expects BGR."""

    def forward(self, x):
        halves = torch.stack([x[:, :, :4].mean((2, 3)), x[:, :, 4:].mean((2, 3))], 2)
        return 20 * halves.flip(1).flatten(1)


@pytest.fixture(scope="module")
def colors():
    """192 color images, six classes; the second half is held out."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 192)
    x = 0.3 + 0.2 * rng.random((192, 3, 8, 8))
    for image, label in zip(x, y, strict=True):
        channel, half = divmod(int(label), 2)
        image[channel, 4 * half : 4 * half + 4] += 0.4
    ids = [f"color-{index}" for index in range(192)]
    return Examples("colors", "test", ids, x.astype(np.float32), y, ImageSpec((3, 8, 8), 6))


def test_a_defense_that_expects_bgr_is_named(colors, canary):
    """Half of the classes look like others when red and blue are exchanged."""
    model = ColorAndHalf()

    finding = canary("expects BGR", model, "S14", "block", examples=colors.part(0, 96), others=colors.part(96, 192))

    assert finding.verdict == "block"
    assert "BGR" in finding.message


def test_a_declared_accuracy_measured_on_few_images_may_be_off(shipped, test_digits, held_out):
    """96 % of 25 images do not contradict 90 % of 512."""
    findings = preflight(shipped("atop", rt="2"), test_digits, held_out, declared_accuracy=0.96, declared_n=25)

    assert findings[14].id == "S15"
    assert findings[14].passed


class Reordered(nn.Module):
    """A model whose class `k` is another one's `order[k]`."""

    def __init__(self, model, order):
        super().__init__()
        self.model, self.order = model, order

    def forward(self, x):
        return self.model(x)[:, self.order]


ORDERS = {"no class in its place": [*range(1, 10), 0], "1, 10, 2, ..., 9": [0, 9, *range(1, 9)]}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("n", [16, 128, 512])
def test_labels_in_another_order_are_named(robust, test_digits, canary, order, n):
    """Whatever is right by chance: ten folders that sort as text leave one class in its place, and that is a tenth."""
    finding = canary("other order", Reordered(robust, order), "S15", "flag", examples=test_digits.first(n))

    assert finding.verdict == "flag"
    assert "another order" in finding.message


def test_labels_in_another_order_are_no_other_convention(shipped, test_digits, held_out):
    """In [0, 255] the same model is right on a tenth by chance, clearly more than on none; S14 must not believe it."""
    model = Reordered(shipped("at").model, [9, *range(9)])

    alarms = [finding.id for finding in preflight(Defense(model), test_digits.first(128), held_out) if finding.alarming]

    assert alarms == ["S15"]


def zeros_and_ones(images, n):
    """The first `n` zeros and ones."""
    rows = np.flatnonzero(images.y <= 1)[:n]
    return Examples("pair", "test", [images.ids[row] for row in rows], images.x[rows], images.y[rows], TWO_CLASSES)


def test_two_labels_that_are_exchanged_are_named(robust, test_digits, canary):
    """Of two classes 64 images are enough; an accuracy that is declared as well changes nothing."""
    finding = canary(
        "exchanged labels",
        Reordered(robust, [1, 0]),
        "S15",
        "flag",
        examples=zeros_and_ones(test_digits, 64),
        others=None,
        declared_accuracy=1,
    )

    assert finding.verdict == "flag"
    assert "another order" in finding.message


class Always(nn.Module):
    """Names one class whatever it sees."""

    def __init__(self, answer):
        super().__init__()
        self.head = nn.Linear(64, len(answer))
        self.answer = torch.tensor(answer)

    def forward(self, x):
        return self.answer + 1e-3 * self.head(x.flatten(1))


@pytest.mark.parametrize(
    "build",
    [
        lambda robust: robust,
        lambda _: Always([0.0] * 9 + [9.0]),
        lambda robust: Reordered(robust, [1, 0, *range(2, 10)]),
    ],
    ids=["right", "one class", "two exchanged"],
)
def test_an_accuracy_that_is_good_or_nothing_is_no_other_order(build, robust, test_digits):
    """Where most classes are in their places, the others are for the eye; and one answer tells nothing."""
    findings = preflight(Defense(build(robust)), test_digits)

    assert findings[14].id == "S15"
    assert findings[14].idle


@pytest.mark.parametrize("seed", [98, 101, 104])
def test_an_untrained_network_knows_no_order(test_digits, held_out, seed):
    """Its answers go with the classes: these are right far less often than guesses, by an exact binomial test."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Chance()
    right = model(torch.from_numpy(test_digits.x)).argmax(1) == torch.from_numpy(test_digits.y)

    finding = preflight(Defense(model), test_digits, held_out)[14]

    assert binom.cdf(int(right.sum()), len(test_digits), 0.1) < 1e-6
    assert finding.idle, finding.message


def test_a_dozen_images_tell_no_order(robust, test_digits):
    """All wrong, of two classes: a coin does that often enough."""
    findings = preflight(Defense(Reordered(robust, [1, 0])), zeros_and_ones(test_digits, 12))

    assert findings[14].idle


def test_who_always_names_a_rare_class_is_no_other_order():
    """Taken for the other class, 95 % of its answers would be right; but so is whoever always names that one."""
    rng = np.random.default_rng(0)
    y = np.array([int(index % 20 == 0) for index in range(400)])
    x = rng.random((400, 1, 8, 8)).astype(np.float32)
    examples = Examples("rare", "test", [f"rare-{index}" for index in range(400)], x, y, TWO_CLASSES)

    findings = preflight(Defense(Always([0.0, 9.0])), examples)

    assert findings[14].idle


def test_answers_that_are_no_numbers_say_nothing_of_the_order(robust, test_digits):
    """They are wrong, but S01 says why."""

    class Infinite(Reordered):
        def forward(self, x):
            logits = super().forward(x)
            return logits.where(logits < logits.amax(1, keepdim=True), torch.inf)

    findings = preflight(Defense(Infinite(robust, [*range(1, 10), 0])), test_digits.first(128))

    assert findings[0].verdict == "block"
    assert "another order" not in findings[14].message
