"""What lives in this process is known by what it is, and by nothing after it was given back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.catalogue.in_memory import attack_ref, defense_ref, find, lent
from bench.catalogue.loading import load_attack, load_defense
from bench.catalogue.request import InMemory
from bench.errors import BenchError
from bench.types import Defense
from tests.catalogue.mine import DIGITS


class Templates(nn.Module):
    def __init__(self, seed=0, shift=0.0):
        super().__init__()
        self.shift = shift
        self.weight = nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x):
        return (x + self.shift).flatten(1) @ self.weight


class Step:
    def __init__(self, length):
        self.length = length

    def __call__(self, oracle, x, y, threat, *, stream):
        return (x + self.length * float(threat.eps)).clamp(0, 1)


def known(model, label="mine"):
    """What tells a defense apart: everything but where it lies."""
    item = InMemory(label, model)
    with lent(item):
        ref = defense_ref(item, DIGITS)
    return ref.label, ref.digest, ref.stochastic, ref.answers


def test_the_same_numbers_are_the_same_defense_wherever_they_lie():
    """Another name, tensor or answer makes another one; a record around it says no more than it."""
    same = known(Templates())

    assert known(Templates()) == known(Defense(Templates())) == same
    others = [known(Templates(), "other"), known(Templates(seed=1)), known(Templates(shift=0.5))]
    assert all(other != same for other in others)
    assert known(Templates(shift=0.5))[1] == same[1]  # no tensor and no layer tells: the answers do


def test_a_reference_loads_what_was_handed_over_and_no_copy():
    model, attack = Templates(), Step(1)
    things = InMemory("mine", model), InMemory("step", attack)
    with lent(*things):
        ref, (entry, step) = defense_ref(things[0], DIGITS), attack_ref(things[1], DIGITS)
        assert load_defense(ref, DIGITS).model is model
        assert load_attack(step) is attack
        assert entry.name == step.label == "step"


def test_an_attack_is_known_by_what_it_proposes():
    refs = []
    for length in (1, 1, -1):
        item = InMemory("step", Step(length))
        with lent(item):
            refs.append(attack_ref(item, DIGITS)[1])

    assert refs[0].answers == refs[1].answers != refs[2].answers


def test_after_the_run_nothing_is_held():
    """Even one that ended with an error; a reference then says where its subject was."""
    item = InMemory("mine", Templates())
    sources = []

    def stopped():
        with lent(item):
            sources.append(defense_ref(item, DIGITS).source)
            assert find(sources[0]).model is item.what
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()

    with pytest.raises(BenchError, match="lived in another process: hand it over again"):
        find(sources[0])


@pytest.mark.parametrize("label", ["", "a b", "../up", "<b>", "x" + "/" + "y"])
def test_a_name_that_is_no_path_is_one_line(label):
    with pytest.raises(BenchError, match="give letters, digits, dots, dashes and underscores"):
        InMemory(label, Templates())
