"""Attacks on a model at hand: what the harness would find, and nothing of the caller's is changed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import bench.attacks
from bench.attacks import FAB, FGSM, PGD, Square, StAdv
from bench.checks.contracts.models import Halfspace, NoisyHalfspace, robust_digits
from bench.errors import BenchError
from bench.oracle.direct import on_models
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import Stream
from bench.threats import ThreatModel
from bench.types import Defense


def images(n=32, shape=(1, 8, 8), seed=0):
    return 0.3 + 0.4 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the global one is what this is about)
    random.seed(seed)


def drawn():
    """A number of each of the global generators."""
    return float(torch.rand(1)), np.random.rand(), random.random()  # noqa: NPY002


def answered(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


@pytest.mark.parametrize(("family", "order"), [("Linf", float("inf")), ("L2", 2)])
@pytest.mark.parametrize("attack", [PGD(steps=20), FGSM()], ids=["pgd", "fgsm"])
def test_a_linear_model_falls_where_the_closed_form_says_so(attack, family, order):
    """Half of the images lie nearer than eps: these are broken, all others are not; all stay in ball and box."""
    model, x = Halfspace(), images()
    y = answered(model, x)
    distance = model.distance(x, y, family)
    eps = float(distance.sort().values[15:17].mean())

    x_adv = attack(model, x, y, f"{family}:{eps}")

    assert x_adv.shape == x.shape
    assert x_adv.dtype == torch.float32
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert torch.linalg.vector_norm((x_adv - x).flatten(1), ord=order, dim=1).max() <= eps + 1e-5
    broken = answered(model, x_adv) != y
    clear = (distance - eps).abs() > 0.02 * eps
    assert clear.sum() > 20
    assert torch.equal(broken[clear], (distance < eps)[clear])


def test_nothing_of_the_callers_is_changed():
    """Modes of every layer, parameters and their gradients, images, and three global generators."""
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1), Halfspace()).train()
    model[1].eval()
    model[2].weight.grad = torch.full_like(model[2].weight, 3.0)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = images(8), torch.arange(8) % 2
    x_before = x.clone()
    seeded(1)
    expected = drawn()
    seeded(1)

    x_adv = PGD(steps=3)(model, x, y, "Linf:8/255")

    assert drawn() == expected
    assert [each.training for each in model] == [True, False, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model[2].weight.grad, torch.full_like(state["2.weight"], 3.0))
    assert model[2].weight.requires_grad
    assert torch.equal(x, x_before)
    assert not x_adv.requires_grad


def test_the_noise_of_a_defense_is_not_taken_from_the_callers_generators():
    """It is seeded anew for every query, and the callers draw on where they were."""
    noisy, x = NoisyHalfspace(noise=0.5), images(8)
    seeded(1)
    expected = drawn()
    seeded(1)

    PGD(steps=3)(Defense(noisy, stochastic=True), x, torch.arange(8) % 2, "Linf:0.1")

    assert drawn() == expected


def test_a_seed_settles_everything():
    """Whatever the global generators say; another seed is another start."""
    model, x, y = robust_digits()
    attack = PGD(steps=2)

    first = attack(model, x, y, "Linf:0.1")
    torch.manual_seed(99)

    assert torch.equal(attack(model, x, y, ThreatModel.parse("Linf:0.1"), seed=0), first)
    assert not torch.equal(attack(model, x, y, "Linf:0.1", seed=1), first)


@pytest.mark.parametrize(
    "attack", [PGD(steps=5), FGSM(), Square(queries=30), FAB(steps=5)], ids=lambda each: type(each).__name__
)
def test_it_is_what_the_oracle_hands_the_harness(attack):
    """The same attack on an oracle with the same streams."""
    model, x, y = robust_digits()
    threat = ThreatModel.parse("Linf:0.1")
    place = (type(attack).__name__, str(threat))
    stream = Stream.of([str(row) for row in range(len(x))], 0, "direct", *place)
    oracle = Oracle(Defense(model), len(x), scope=(0, "direct", *place), labels=y)
    expected = oracle.proven(attack(oracle, x.clone(), y.clone(), threat, stream=stream))

    found = attack(model, x, y, "Linf:0.1")

    assert torch.equal(found, expected)
    assert 0 < (answered(model, found) != y).sum() < len(x)


def test_a_stochastic_defense_says_that_it_is():
    """Its noise is drawn anew for every query; the exact error rate of the closed form goes up."""
    noisy, x = NoisyHalfspace(noise=0.5), images()
    y = answered(noisy.halfspace, x)

    x_adv = PGD(steps=10, eot=4)(Defense(noisy, stochastic=True), x, y, "Linf:0.1")

    assert noisy.error_rate(x_adv, y).mean() > noisy.error_rate(x, y).mean() + 0.2


def test_a_spatial_attack_breaks_what_it_can():
    """Its threat is no norm: the point is its own."""
    model, x, y = robust_digits()

    x_adv = StAdv(steps=10)(model, x, y, "stadv:0.3")

    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert (answered(model, x_adv) != y).sum() > 0
    assert torch.equal(x_adv, StAdv(steps=10)(model, x, y, "stadv:0.3"))


@pytest.mark.parametrize(
    ("x", "threat", "said"),
    [
        (torch.rand(4, 8, 8), "Linf:0.1", r"images have shape \(4, 8, 8\)"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), "Linf:0.1", "type torch.uint8: give floats"),
        (torch.rand(4, 1, 8, 8) * 2, "Linf:0.1", r"give floats \[B, C, H, W\] in \[0, 1\]"),
        (torch.rand(4, 1, 8, 8), "Lnif:0.1", "did you mean Linf"),
        (torch.rand(4, 1, 8, 8), "stadv:0.1", "PGD"),
    ],
)
def test_what_it_is_not_for_is_one_line(x, threat, said):
    with pytest.raises(BenchError, match=said) as error:
        PGD(steps=2)(Halfspace(), x, torch.zeros(4, dtype=torch.long), threat)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", bench.attacks.__all__)
def test_every_attack_can_be_taken_by_its_name(name):
    """It is the class of that name, and its call takes a model."""
    found = getattr(bench.attacks, name)

    assert isinstance(found, type)
    assert found.__name__ == name
    assert callable(found)
    assert hasattr(found.__call__, "__wrapped__")


def test_a_call_on_an_oracle_is_passed_on():
    """The harness pays nothing for the other way to call."""
    asked = []

    class Attack:
        @on_models
        def __call__(self, oracle, x, y, threat, *, stream):
            asked.append((oracle, threat, stream))
            return x

    Attack()("an oracle", 1, 2, 3, stream=4)

    assert asked == [("an oracle", 3, 4)]
