"""Defenses that hide a part of their gradient: each is flagged by S09 or S11 before any attack."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.attacks.lp.pgd import PGD

EPS = 0.2
ROW, COLUMN = torch.arange(8)[:, None].expand(8, 8), torch.arange(8)[None].expand(8, 8)
DCT = torch.cos(math.pi / 8 * (torch.arange(8.0)[None] + 0.5) * torch.arange(8.0)[:, None]) / 2
DCT[0] /= 2**0.5
CHECKER = (ROW + COLUMN) % 2


def some(share, seed):
    return (torch.rand(8, 8, generator=torch.Generator().manual_seed(seed)) < share).float()


class Masking(nn.Module):
    """A network asked in some way, `answer(self, x)`; with jitter it is stochastic."""

    def __init__(self, answer, model, other=None, jitter=0.0):
        super().__init__()
        self.answer, self.model, self.other, self.jitter = answer, model, other, jitter

    def forward(self, x):
        return self.answer(self, x + self.jitter * torch.randn_like(x) if self.jitter else x)


def keep(x, mask):
    """The gradient where the mask is set, and the image everywhere."""
    return torch.where(mask > 0, x, x.detach())


def pixels(mask):
    return lambda self, x: self.model(keep(x, mask))


def values(condition):
    return lambda self, x: self.model(torch.where(condition(x), x, x.detach()))


def images(condition, mask):
    """Where the condition on logits and images fails, the gradient of `mask` is all there is."""

    def answer(self, x):
        with torch.no_grad():
            met = condition(self.model(x), x).float()[:, None, None, None]
        return self.model(keep(x, torch.maximum(met, mask)))

    return answer


def logits(mask):
    """The gradient of some logits, `mask(z)`."""
    return lambda self, x: (lambda z: keep(z, mask(z)))(self.model(x))


def before(function):
    return lambda self, x: self.model(function(x))


def after(function):
    return lambda self, x: function(self.model(x))


def instead(decoy):
    """Another gradient, that of `decoy(self, x)`, with the right answer."""

    def answer(self, x):
        other = decoy(self, x)
        return self.model(x).detach() + other - other.detach()

    return answer


class Rule(torch.autograd.Function):
    """The identity, with a rule for gradient and image."""

    @staticmethod
    def forward(ctx, x, rule):
        ctx.rule = rule
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return ctx.rule(grad, *ctx.saved_tensors), None


def backward(rule):
    return lambda self, x: self.model(Rule.apply(x, rule))


def first(k, values):
    """Where the k largest of each row are, as zeros and ones."""
    flat = values.flatten(1)
    return torch.zeros_like(flat).scatter(1, flat.topk(k, 1).indices, 1.0).view_as(values)


def gap(z):
    best = z.topk(2, 1).values
    return best[:, 0] - best[:, 1]


def off(x):
    """How far a pixel is from the sixteenths that those of the data set are, in sixteenths."""
    return (16 * x - (16 * x).round()).abs()


def around(x):
    """The mean of 3x3 pixels."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def blocks(x):
    """The mean of 2x2 pixels, in each of them."""
    return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)


def in_frequencies(function):
    return lambda x: DCT.T @ function(DCT @ x @ DCT.T) @ DCT


def norm_of_patches(x):
    """NaN where one is black."""
    norm = blocks(x.square()).sqrt()
    return x * (1 + norm - norm.detach())


def tanh_taken_back(x):
    steep = torch.tanh(60 * (x - 0.5))
    return x.detach() + (steep - steep.detach()) / 60


def squashed(z):
    flat = torch.sigmoid(4 * (z - z.mean(1, keepdim=True).detach()))
    return z.detach() + flat - flat.detach()


def hinge(z):
    """No slope where the answer is sure."""
    behind = z - z.amax(1, keepdim=True)
    return behind.clamp_min(-1.5) + 1e-4 * behind.detach()


def branches(self, x):
    """The upper half of the image has a small branch of its own; the main one has no gradient."""
    return self.model(x.detach()) + 0.1 * self.model(x * (ROW < 4))


def members(self, x):
    return self.model(x.detach()) + self.model(x.detach().roll(1, 3)) + 0.3 * self.model(x.roll(1, 2))


def smoothing(self, x):
    noisy = (keep(x, COLUMN % 2) + 0.1 * torch.randn(8, *x.shape)).flatten(0, 1)
    return self.model(noisy).view(8, len(x), -1).mean(0)


def hidden_units(self, x):
    _, inner, *rest = self.model
    return nn.Sequential(*rest)(keep(inner(x.flatten(1)), (torch.arange(64) % 4 == 0).float()))


THIRD, HALF = some(0.35, 1), some(0.5, 2)
NOTHING = torch.zeros(8, 8)
SHUFFLED = torch.randperm(64, generator=torch.Generator().manual_seed(4))
DECOY = torch.randn(64, 10, generator=torch.Generator().manual_seed(5))
JITTERED = {"every other pixel, with jitter", "dark pixels, with jitter", "smoothing", "other pixels in each draw"}

# What hides: how, and the check. Around a linear classifier, where the truth is known.
LINEAR = {
    "every other pixel": (pixels(CHECKER), "S11"),
    "every other pixel, with jitter": (pixels(CHECKER), "S11"),
    "two branches": (branches, "S11"),
    "square root and square": (before(lambda x: x.sqrt() ** 2), "S09"),
    "square root": (before(lambda x: x.sqrt()), "S09"),
    "dark pixels": (values(lambda x: x > 0.05), "S11"),
    "dark pixels, with jitter": (values(lambda x: x > 0.05), "S11"),
    "pixels that are exactly 0": (values(lambda x: x != 0), "S11"),
    "pixels on the lattice": (values(lambda x: off(x) > 0.05), "S11"),
    "pixels off the lattice": (values(lambda x: off(x) < 0.05), "S11"),
    "images off the lattice": (images(lambda z, x: off(x).amax((1, 2, 3)) < 0.01, some(0.3, 5)), "S11"),
    "smooth images": (images(lambda z, x: (x - around(x)).abs().mean((1, 2, 3)) > 0.2, THIRD), "S11"),
    "sure images": (images(lambda z, x: gap(z) < 10, NOTHING), "S09"),
    "low frequencies": (before(in_frequencies(lambda c: keep(c, (ROW + COLUMN > 2).float()))), "S11"),
    "means of 2x2 pixels": (before(lambda x: x + blocks(x.detach()) - blocks(x)), "S11"),
    "all logits but the first": (logits(lambda z: first(1, z)), "S11"),
    "five logits": (logits(lambda z: torch.arange(10) % 2), "S11"),
    "two members of three": (members, "S11"),
    "sign on a third": (backward(lambda g, x: g * (1 - 2 * THIRD)), "S11"),
    "a row further down": (backward(lambda g, x: g.roll(1, 2)), "S11"),
    "the steepest pixels": (backward(lambda g, x: g * (1 - first(20, g.abs()))), "S11"),
    "brightening": (backward(lambda g, x: g.clamp_max(0)), "S11"),
    "arc cosine and cosine": (before(lambda x: x.acos().cos()), "S09"),
    "saturated tanh": (before(tanh_taken_back), "S11"),
    "decoy": (instead(lambda self, x: self.model(x) + 40 * x.flatten(1) @ DECOY), "S11"),
}

# The same around a network: one adversarially trained, or a small one.
ROBUST = {
    "center": (pixels(((ROW - 3.5).abs() > 2) | ((COLUMN - 3.5).abs() > 2)), "S11"),
    "midtones": (values(lambda x: (x < 0.25) | (x > 0.75)), "S11"),
    "bright pixels": (values(lambda x: x < 0.98), "S11"),
    "all but the brightest pixels around": (values(lambda x: x >= F.max_pool2d(x, 3, 1, 1)), "S11"),
    "all but multiples of 1/255": (values(lambda x: (255 * x - (255 * x).round()).abs() < 1e-3), "S11"),
    "pixels by their last digits": (values(lambda x: ((1e4 * x).sin() * 1e3).frac().abs() > 0.85), "S11"),
    "unsure images": (images(lambda z, x: gap(z) > 2, NOTHING), "S09"),
    "images after a step": (images(lambda z, x: off(x).mean((1, 2, 3)) < 0.1, some(0.2, 6)), "S11"),
    "the first logit": (logits(lambda z: 1 - first(1, z)), "S11"),
    "the runners-up": (logits(lambda z: 1 - first(3, z) + first(1, z)), "S11"),
    "all but a faint member": (lambda self, x: self.model(x.detach()) + 0.05 * self.other(x), "S11"),
    "smoothing": (smoothing, "S11"),
    "other pixels in each draw": (lambda self, x: self.model(keep(x, (torch.rand_like(x) < 0.05).float())), "S11"),
    "half of the pixels times 0.05": (backward(lambda g, x: g * (0.05 + 0.95 * HALF)), "S11"),
    "half of the pixels shuffled": (
        backward(lambda g, x: torch.where(HALF > 0, g, g.flatten(1)[:, SHUFFLED].view_as(g))),
        "S11",
    ),
    "smoothed over 3x3": (backward(lambda g, x: around(g)), "S11"),
    "times the image": (backward(lambda g, x: g * x), "S11"),
    "all but six pixels": (backward(lambda g, x: g * first(6, g.abs())), "S11"),
    "NaN in a third of the rows": (backward(lambda g, x: torch.where(ROW % 3 == 1, torch.nan, g)), "S09"),
    "infinite at bright pixels": (backward(lambda g, x: torch.where(x > 0.6, torch.inf, g)), "S09"),
    "logarithm and exponential": (before(lambda x: x.log().exp()), "S09"),
    "that of the blurred image": (instead(lambda self, x: self.model(around(around(x)))), "S11"),
    "that of another network": (instead(lambda self, x: self.other(x)), "S11"),
    "saturated logits": (after(squashed), "S11"),
    "hinge of the gap": (after(hinge), "S09"),
    "rounding half of the pixels": (before(lambda x: torch.where(HALF > 0, x, (15 * x).round() / 15)), "S11"),
    "steps in dark pixels": (before(lambda x: torch.where(x < 0.4, (20 * x).floor() / 20, x)), "S11"),
    "sawtooth on half": (before(lambda x: torch.where(HALF > 0, x, (12 * x).round() / 8 - x / 2)), "S11"),
    "ripples on half": (before(lambda x: torch.where(HALF > 0, x, x + 0.004 * (400 * x).sin())), "S11"),
}
SMALL = {
    "norm of patches": (before(norm_of_patches), "S09"),
    "hidden units": (hidden_units, "S11"),
    "rounding low frequencies": (
        before(in_frequencies(lambda c: torch.where(ROW + COLUMN < 4, (10 * c).round() / 10, c))),
        "S11",
    ),
}
CANARIES = LINEAR | ROBUST | SMALL


def curve(name):
    return torch.sqrt if name == "square root" else lambda x: x


@pytest.fixture(scope="module")
def small(trained):
    return trained(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))


@pytest.fixture
def masking(centroids, robust, small):
    """Build a canary by its name."""

    def build(name):
        model = centroids(curve(name)) if name in LINEAR else robust if name in ROBUST else small
        return Masking(CANARIES[name][0], model, small, 0.01 if name in JITTERED else 0.0).eval()

    return build


@pytest.mark.parametrize("name", CANARIES)
def test_a_hidden_part_of_the_gradient_is_named(name, masking, canary):
    """No attack has run yet."""
    check = CANARIES[name][1]

    finding = canary(f"hides {name}", masking(name), check, "flag", stochastic=name in JITTERED)

    assert (finding.id, finding.verdict) == (check, "flag"), finding.message
    assert finding.value != "raised"


def share_right(model, x, y):
    with torch.no_grad():
        return float(torch.stack([model(x).argmax(1) == y for _ in range(20)]).float().mean())


def worst_case(model, x, y, curve):
    """Of a linear classifier of `curve(x)`: for each other class the best corner, and the best of those."""
    jitter, model.jitter = model.jitter, 0.0
    with torch.no_grad():
        bias, *rows = model(torch.cat([torch.zeros(1, 64), torch.eye(64)]).view(-1, 1, 8, 8))
    model.jitter = jitter
    weight = torch.stack(rows, 1) - bias[:, None]
    slope = weight - weight[y][:, None]
    low, high = ((x + side * EPS).clamp(0, 1).flatten(1)[:, None] for side in (-1, 1))
    corners = torch.where(slope > 0, high, low)
    lead = (slope * curve(corners)).sum(2) + bias - bias[y][:, None]
    best = lead.scatter(1, y[:, None], -torch.inf).argmax(1)
    return corners[torch.arange(len(x)), best].view_as(x)


@pytest.fixture
def overstated(test_digits, launch):
    """By how much plain PGD overstates the robust accuracy of a defense that is linear in `curve(x)`."""
    x, y = torch.from_numpy(test_digits.x[:64]), torch.from_numpy(test_digits.y[:64])

    def measure(model, curve=lambda x: x):
        x_adv, _ = launch(PGD(loss="margin"), model, x, y, f"Linf:{EPS}", stochastic=model.jitter > 0)
        return share_right(model, x_adv, y) - share_right(model, worst_case(model, x, y, curve), y)

    return measure


@pytest.mark.parametrize("name", LINEAR)
def test_pgd_leaves_what_the_gradient_hides(name, masking, overstated):
    """Ten points more than is true, or more: what is flagged is no trifle."""
    assert overstated(masking(name), curve(name)) > 0.1


def test_pgd_finds_the_worst_case_where_nothing_is_hidden(centroids, overstated):
    """Nearly: so those ten points are the mask's."""
    assert 0 <= overstated(Masking(lambda self, x: self.model(x), centroids())) < 0.05
