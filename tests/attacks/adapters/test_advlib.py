"""What the threat model decides of an attack of adv-lib: on a stand-in for the library, which is seldom there."""

import math
import sys
from types import ModuleType

import pytest
import torch

from bench.attacks.adapters import advlib
from bench.attacks.adapters.advlib import AdvLib

CALLS = []


def fmn(model, inputs, labels, norm, targeted=False, steps=10, α_init=1.0):
    CALLS.append({"norm": norm, "steps": steps, "alpha": α_init})
    return inputs + 9


def fab(model, inputs, labels, norm, n_iter=100, ε=None, targeted=False, epsilon=None):
    CALLS.append({"norm": norm, "epsilon": epsilon})
    return inputs


def apgd_targeted(model, inputs, labels, eps, norm, targeted=True, num_targets=9):
    CALLS.append({"norm": norm, "eps": eps, "num_targets": num_targets})
    return inputs


def alma(model, inputs, labels, distance="l2", num_steps=1000):
    CALLS.append({"distance": distance})
    return inputs


@pytest.fixture(autouse=True)
def _library(monkeypatch):
    CALLS.clear()
    package, attacks = ModuleType("adv_lib"), ModuleType("adv_lib.attacks")
    for function in (fmn, fab, apgd_targeted, alma):
        setattr(attacks, function.__name__, function)
    monkeypatch.setitem(sys.modules, "adv_lib", package)
    monkeypatch.setitem(sys.modules, "adv_lib.attacks", attacks)


@pytest.fixture
def attacked(launch, small_cnn, images):
    """Run an attack by name on a network of seven classes; returns how far its points are."""

    def run(name, threat, **parameters):
        model, x = small_cnn(classes=7), images(3)
        x_adv, _ = launch(AdvLib(name, parameters), model, x, model(x).argmax(1), threat)
        return (x_adv - x).flatten(1)

    return run


@pytest.mark.parametrize(("threat", "order"), [("Linf:0.1", math.inf), ("L2:0.5", 2), ("L1:3", 1)])
def test_a_minimum_norm_attack_is_told_the_norm_and_no_bound(attacked, threat, order):
    """Its points are brought into the ball."""
    moved = attacked("fmn", threat)

    assert [{"norm": order, "steps": 10, "alpha": 1.0}] == CALLS
    assert torch.linalg.vector_norm(moved, order, dim=1).max() <= float(threat.partition(":")[2]) * (1 + 1e-5)
    assert (moved != 0).any(1).all()


def test_what_takes_a_bound_is_told_it_under_its_own_name(attacked):
    attacked("fab", "L2:0.5")
    attacked("alma", "L1:3")

    assert CALLS == [{"norm": 2, "epsilon": 0.5}, {"distance": "l1"}]


def test_no_more_targets_are_asked_for_than_there_are_other_classes(attacked):
    for asked in (9, 4):
        attacked("apgd_targeted", "Linf:0.1", num_targets=asked)

    assert [call["num_targets"] for call in CALLS] == [6, 4]


def test_greek_letters_are_spelled_out_both_ways(attacked):
    attacked("fmn", "L2:0.5", alpha_init=0.25)

    assert CALLS[0]["alpha"] == 0.25
    assert advlib.parameters("fmn") == {"steps": (int, 10), "alpha_init": (float, 1.0)}


def test_what_the_harness_sets_is_not_offered():
    assert advlib.parameters("fab") == {"n_iter": (int, 100)}
    assert advlib.parameters("alma") == {"num_steps": (int, 1000)}


def test_a_plotting_server_that_is_not_there_is_stood_in_for_and_not_left_behind(monkeypatch):
    """adv-lib imports visdom, which no attack needs; others look for it to learn what they may use."""
    seen = []
    monkeypatch.delitem(sys.modules, "adv_lib.attacks")
    monkeypatch.delitem(sys.modules, "visdom", raising=False)
    monkeypatch.setattr(advlib.importlib.util, "find_spec", lambda name: None)

    def imported(module, install):
        seen.append(sys.modules["visdom"].Visdom)
        return ModuleType(module)

    monkeypatch.setattr(advlib.library, "imported", imported)

    with pytest.raises(AttributeError):
        advlib._function("fmn")

    assert seen == [object]
    assert "visdom" not in sys.modules
