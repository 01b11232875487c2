"""What the threat model decides of an attack of torchattacks: on a stand-in for the library, which is seldom there."""

import sys
from types import SimpleNamespace

import pytest
import torch

from bench.attacks.adapters import torchattacks
from bench.attacks.adapters.torchattacks import Torchattacks

CALLS = []


class _Spy:
    """Remembers what it was made with; proposes images far outside of any ball."""

    def __call__(self, x, y):
        return x + 9


class Bounded(_Spy):
    def __init__(self, model, eps=8 / 255, alpha=1 / 255, steps=10, random_start=True):
        CALLS.append({"eps": eps, "alpha": alpha, "steps": steps})


class Normed(_Spy):
    def __init__(self, model, norm="Linf", eps=0.3, seed=None, n_classes=10, verbose=False):
        CALLS.append({"norm": norm, "eps": eps, "seed": seed, "n_classes": n_classes})


class Nearest(_Spy):
    def __init__(self, model, c=1, kappa=0, steps=50, lr=0.01):
        CALLS.append({"c": c, "steps": steps})


@pytest.fixture(autouse=True)
def _library(monkeypatch):
    CALLS.clear()
    monkeypatch.setitem(sys.modules, "torchattacks", SimpleNamespace(Bounded=Bounded, Normed=Normed, Nearest=Nearest))


@pytest.fixture
def attacked(launch, small_cnn, images):
    """Run an attack by name on a network of seven classes; returns how far its points are."""

    def run(name, threat, n=3, **parameters):
        model, x = small_cnn(classes=7), images(n)
        x_adv, _ = launch(Torchattacks(name, parameters), model, x, model(x).argmax(1), threat)
        return (x_adv - x).flatten(1)

    return run


def test_a_step_keeps_its_share_of_eps(attacked):
    attacked("Bounded", "Linf:0.2")

    assert [{"eps": 0.2, "alpha": pytest.approx(0.025), "steps": 10}] == CALLS


def test_a_step_that_is_named_is_absolute(attacked):
    attacked("Bounded", "Linf:0.2", alpha=0.01, steps=3)

    assert CALLS == [{"eps": 0.2, "alpha": 0.01, "steps": 3}]


def test_norm_classes_and_a_seed_of_the_examples_are_told_where_they_are_taken(attacked):
    """Another batch has another seed, the same one the same."""
    for n in (3, 3, 4):
        attacked("Normed", "L2:1", n)

    seeds = [call.pop("seed") for call in CALLS]
    assert CALLS == [{"norm": "L2", "eps": 1.0, "n_classes": 7}] * 3
    assert seeds[0] == seeds[1] != seeds[2]


def test_what_takes_no_bound_is_told_none_and_its_points_are_brought_into_the_ball(attacked):
    moved = attacked("Nearest", "L2:0.5")

    assert CALLS == [{"c": 1, "steps": 50}]
    assert torch.allclose(moved.norm(dim=1), torch.tensor(0.5), atol=1e-5)


def test_what_the_harness_sets_is_not_offered_and_whole_defaults_may_be_fractions():
    assert torchattacks.parameters("Normed") == {}
    assert torchattacks.parameters("Bounded") == {
        "alpha": (float, 1 / 255),
        "steps": (int, 10),
        "random_start": (bool, True),
    }
    assert torchattacks.parameters("Nearest")["c"] == (float, 1)
