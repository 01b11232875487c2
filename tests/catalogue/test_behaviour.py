"""A defense is recognized by what it answers: the same across threads and batches, other than any other."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.attacks.lp.fgsm import FGSM
from bench.attacks.lp.pgd import PGD
from bench.catalogue import behaviour
from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.catalogue.weights import shipped
from bench.types import Defense, ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)
NAMES = ["standard", "at", "at-l2", "at-stadv", "fgsm-rs", "trades", "ap", "atop"]
CONFIGS = [{}, {"rt": "2"}, {"rt": "3"}, {"rt": "none"}, {"ft": "clean"}, {"ft": "paper", "rt": "2"}]


def registered(name, **config):
    return load_defense(defense(Request(name, config), "digits", None), DIGITS)


def quantized(model, levels):
    class Quantized(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model((x * levels).round() / levels)

    return Quantized().eval()


def scaled(model, factor):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return factor * self.model(x)

    return Scaled().eval()


class OneByOne(nn.Module):
    """The same model in batches of one."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return torch.cat([self.model(row[None]) for row in x])


class InCompany(nn.Module):
    """The same model in a batch of 64."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(torch.cat([x] * (64 // len(x))))[: len(x)]


@pytest.fixture(scope="module")
def models():
    """Deterministic ones, of which no two are the same: shipped, quantized, saturated, drawn."""
    found = {name: registered(name).model for name in NAMES[:-1]}
    found["atop[rt=none]"] = registered("atop", rt="none").model
    at = found["at"]
    found |= {f"at in {levels} levels": quantized(at, levels) for levels in (8, 16, 32)}
    found |= {f"at times {factor}": scaled(at, factor) for factor in (0.5, 2, 200)}
    for seed in range(6):
        torch.manual_seed(seed)
        found[f"drawn {seed}"] = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)).eval()
    return found


def test_threads_and_batches_leave_a_model_the_same(models):
    """Rounding of the last bits is no other model."""
    before = torch.get_num_threads()
    for name, model in models.items():
        torch.set_num_threads(1)
        one = behaviour.of_defense(Defense(model), DIGITS)
        torch.set_num_threads(2)
        two = behaviour.of_defense(Defense(model), DIGITS)
        torch.set_num_threads(before)
        alone, together = (behaviour.of_defense(Defense(kind(model).eval()), DIGITS) for kind in (OneByOne, InCompany))

        assert behaviour.same(one, two), name
        assert behaviour.same(one, alone), name
        assert behaviour.same(one, together), name


def test_any_two_models_that_differ_are_told_apart(models):
    """Twenty of them, in pairs."""
    told = {name: behaviour.of_defense(Defense(model), DIGITS) for name, model in models.items()}

    assert len(told) >= 20
    for one, other in itertools.combinations(told, 2):
        assert not behaviour.same(told[one], told[other]), (one, other)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_stochastic_purifier_is_the_same_draw_after_draw_and_told_from_others(config):
    """Its numbers are drawn under fixed seeds; another transform or fine-tuning answers otherwise."""
    whole = registered("atop", **config)
    other = registered("atop", **({"rt": "1"} if config != {} else {"rt": "2"}))

    torch.rand(3)
    first = behaviour.of_defense(whole, DIGITS)
    torch.rand(5)

    assert behaviour.same(first, behaviour.of_defense(whole, DIGITS))
    assert not behaviour.same(first, behaviour.of_defense(other, DIGITS))


@pytest.mark.parametrize("part", ["surrogate", "base", "purifier"])
def test_every_module_that_is_declared_counts(part):
    """A surrogate of other weights attacks otherwise, though the model answers the same."""
    at, standard, trades = (registered(name).model for name in ("at", "standard", "trades"))

    one, other = (behaviour.of_defense(Defense(at, **{part: each}), DIGITS) for each in (standard, trades))

    assert not behaviour.same(one, other)
    assert not behaviour.same(one, behaviour.of_defense(Defense(at), DIGITS))


def test_a_model_that_hides_its_gradient_is_another_one():
    """The same answers without a gradient, and one that raises, are things of their own."""
    at = registered("at").model

    class NoGraph(nn.Module):
        def forward(self, x):
            with torch.no_grad():
                return at(x)

    class Raises(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    told = [behaviour.of_defense(Defense(model.eval()), DIGITS) for model in (at, NoGraph(), Raises())]

    assert "without gradient" in json.loads(told[1])["model"]
    assert json.loads(told[2])["model"] == {"raised": "ValueError"}
    for one, other in itertools.combinations(told, 2):
        assert not behaviour.same(one, other)


def test_what_raises_for_a_gradient_is_known_by_its_answers_all_the_same():
    """Two models that edit their input in place, which autograd refuses: other weights are another model."""

    def editing(model):
        class Editing(nn.Module):
            def forward(self, x):
                return model(x.clamp_(0, 1))

        return Editing().eval()

    one, same, other = (registered(name).model for name in ("at", "at", "trades"))
    told = [behaviour.of_defense(Defense(editing(model)), DIGITS) for model in (one, same, other)]

    assert json.loads(told[0])["model"]["raised"] == "RuntimeError"
    assert behaviour.same(told[0], told[1])
    assert not behaviour.same(told[0], told[2])


def test_an_attack_is_known_by_what_it_proposes():
    """Another number of steps proposes other points; one that raises is known by that."""
    told = [behaviour.of_attack(attack, "Linf", DIGITS) for attack in (FGSM(), PGD(steps=3), PGD(steps=4), None)]
    again = behaviour.of_attack(PGD(steps=3), "Linf", DIGITS)

    assert behaviour.same(told[1], again)
    assert json.loads(told[3]) == {"attack": {"raised": "TypeError"}}
    for one, other in itertools.combinations(told, 2):
        assert not behaviour.same(one, other)


def test_the_generators_are_left_as_they_were():
    """Asking changes nothing for whoever draws next."""
    whole = registered("atop")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    behaviour.of_defense(whole, DIGITS)
    behaviour.of_attack(PGD(steps=1), "Linf", DIGITS)

    assert torch.equal(torch.rand(3), expected)


def test_the_shipped_digits_are_among_the_twenty():
    """The test above asks real networks, not only drawn ones."""
    assert {path.stem for path in Path(shipped() / "digits").glob("*.safetensors")} >= {"standard", "at", "ap"}


def test_another_defense_to_transfer_from_is_another_defense():
    """What attacks start from decides what they break."""
    alone, other = registered("standard"), registered("at")
    both = dataclasses.replace(alone, transfer_source=other)
    scaled_ = dataclasses.replace(alone, transfer_source=Defense(scaled(other.model, 2.0)))

    told = {behaviour.of_defense(each, DIGITS) for each in (alone, both, scaled_)}

    assert len(told) == 3
