"""What a user brings: a module, a record or a callable, and nothing else is taken for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.catalogue.brought import (
    Exported,
    as_attack,
    as_defense,
    draws_differ,
    is_defense,
    modules_of,
    of_state,
    recognizable,
)
from bench.errors import BenchError
from bench.types import Defense
from tests.catalogue.mine import DIGITS


class Templates(nn.Module):
    def __init__(self, noise=0.0):
        super().__init__()
        self.noise = noise
        self.weight = nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return (x + self.noise * torch.randn_like(x)).flatten(1) @ self.weight


def test_a_module_becomes_a_record_and_is_asked_in_eval_mode():
    model = Templates().train()

    defense = as_defense(model, "mine", DIGITS)

    assert defense == Defense(model)
    assert not model.training


@pytest.mark.parametrize("declared", [True, False])
def test_noise_is_found_out_and_a_declaration_is_never_taken_back(declared):
    """It may be stochastic on other images than these."""
    noisy, plain = Templates(0.1), Templates()

    assert as_defense(Defense(noisy, stochastic=declared), "mine", DIGITS).stochastic
    assert as_defense(Defense(plain, stochastic=declared), "mine", DIGITS).stochastic is declared


def test_looking_for_noise_leaves_the_generators_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    assert draws_differ(Templates(0.1), "mine", DIGITS)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (None, "'mine' returned NoneType: return an nn.Module from"),
        (Templates, "'mine' returned type: return an nn.Module from"),
        (Templates().to("meta"), "weight is on the device 'meta', which holds no numbers"),
        (nn.Linear(3, 10), "'mine' fails on images of shape (8, 1, 8, 8): "),
        (nn.Identity(), "it must map [0, 1] images to logits"),
        (nn.Flatten(), "S02: 'mine' gives 64 classes, the dataset has 10"),
    ],
)
def test_what_is_no_defense_is_one_line(built, said):
    with pytest.raises(BenchError) as error:
        as_defense(built, "mine", DIGITS)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_program_of_torch_export_is_a_module_like_any_other():
    """Its own module refuses to change modes; around it that is a mark and nothing else."""
    model = Templates().eval()
    program = torch.export.export(model, (torch.rand(8, 1, 8, 8),)).module()
    with pytest.raises(NotImplementedError):
        program.eval()

    defense = as_defense(program, "mine", DIGITS)

    assert isinstance(defense.model, Exported)
    x = torch.rand(8, 1, 8, 8)
    assert torch.equal(defense.model.train()(x), model(x))
    assert defense.model.training
    assert not defense.model.eval().training


def test_an_attack_is_what_can_be_called():
    def attack(oracle, x, y, threat, *, stream):
        return x

    assert as_attack(attack, "mine") is attack
    with pytest.raises(BenchError, match=r"returned int: return a callable \(oracle, x, y, threat"):
        as_attack(3, "mine")


def test_a_module_can_be_called_and_is_no_attack():
    assert is_defense(Templates())
    assert is_defense(Defense(Templates()))
    assert not is_defense(lambda: None)


def test_an_attack_that_describes_itself_wrongly_is_one_line():
    def attack(oracle, x, y, threat, *, stream):
        return x

    attack.families = ("Linf",)
    entry, ref = recognizable(attack, "mine", "./mine.py", "digest", DIGITS)
    assert entry.families == ("Linf",)
    assert ref.answers

    attack.access = "telepathy"
    with pytest.raises(BenchError, match=r"says of itself what is not understood: .*telepathy.*; see docs/attacks.md"):
        recognizable(attack, "mine", "./mine.py", "digest", DIGITS)


def test_every_module_that_is_declared_is_listed():
    one, two = Templates(), Templates()
    assert modules_of(Defense(one)) == [one]
    assert modules_of(Defense(one, surrogate=two, base=one)) == [one, two, one]


def test_a_state_is_its_names_and_bits():
    """The order of the layers does not count; one bit does, and a type too."""
    first, second = nn.ModuleDict(), nn.ModuleDict()
    layers = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}
    for name in ("a", "b"):
        first[name] = layers[name]
    for name in ("b", "a"):
        second[name] = layers[name]
    before = of_state(first)
    assert before == of_state(second)
    assert of_state(nn.ModuleDict({"a": layers["b"], "b": layers["a"]})) != before
    assert of_state(Templates()) != of_state(Templates().double())

    with torch.no_grad():
        layers["a"].weight[0, 0] = layers["a"].weight[0, 0].nextafter(torch.tensor(9.0))
    assert of_state(first) != before


def test_numbers_that_numpy_does_not_know_have_a_state():
    """bfloat16, and the pairs that int8 layers keep."""
    assert of_state(Templates().bfloat16()) != of_state(Templates().half())
