"""A defense seen another way: what stays the same, and what is asked of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.oracle.variants import VARIANTS, declared, offered, placed, variant
from bench.types import Defense


class Rounding(nn.Module):
    """A purifier without a gradient."""

    def forward(self, x):
        return (x * 8).round() / 8


class Noisy(nn.Module):
    """A model with fresh noise for every row."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x + 0.1 * torch.randn_like(x))


@pytest.fixture
def purified(halfspace):
    base = halfspace(classes=3).eval()
    purifier = Rounding()
    return Defense(nn.Sequential(purifier, base).eval(), base=base, purifier=purifier)


def test_bpda_answers_as_the_defense_does_to_the_last_bit_and_has_the_gradient_of_the_base(purified, images):
    """Forward through the purifier, backward as if it were not there (arXiv:1802.00420, 4.1.1)."""
    x = images(5).requires_grad_()
    seen = variant(purified, "bpda").model

    logits = seen(x)
    (grad,) = torch.autograd.grad(logits[:, 0].sum(), x)

    assert torch.equal(logits, purified.model(x))
    z = x.detach().clone().requires_grad_()
    (of_base,) = torch.autograd.grad(purified.base(z)[:, 0].sum(), z)
    torch.testing.assert_close(grad, of_base)


def test_a_declared_surrogate_lends_its_gradient_alone(purified, halfspace, images):
    other = halfspace(classes=3, seed=7).eval()
    defense = Defense(purified.model, surrogate=other)
    x = images(5).requires_grad_()

    logits = variant(defense, "bpda").model(x)
    (grad,) = torch.autograd.grad(logits[:, 0].sum(), x)

    torch.testing.assert_close(logits, purified.model(x))
    z = x.detach().clone().requires_grad_()
    torch.testing.assert_close(grad, torch.autograd.grad(other(z)[:, 0].sum(), z)[0])


def test_frozen_randomness_does_not_move_when_an_example_is_let_go(halfspace, images):
    """The same numbers for every image in every forward, whatever the batch; the caller's are left alone."""
    x = images(6)
    frozen = variant(Defense(Noisy(halfspace()).eval(), stochastic=True), "frozen")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    whole, part = frozen.model(x), frozen.model(x[[1, 4]])

    assert not frozen.stochastic
    torch.testing.assert_close(part, whole[[1, 4]])
    assert torch.equal(torch.rand(2), expected)


def test_what_is_offered_depends_on_what_is_declared(purified, halfspace):
    model = halfspace().eval()

    assert offered(purified) == ("base", "bpda")
    assert offered(Defense(model)) == ()
    assert offered(Defense(Noisy(model), stochastic=True, derandomized=model, base=model)) == (
        "base",
        "derandomized",
        "frozen",
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_that_is_not_offered_says_what_to_declare(name, halfspace):
    with pytest.raises(BenchError, match=f"no {name} variant"):
        variant(Defense(halfspace().eval()), name)


def test_a_transfer_is_booked_on_the_same_ledger_and_breaks_nothing(purified, images):
    """Whether a point of the base transfers is for the judge to say."""
    x = images(4)
    y = (purified.base(x).argmax(1) + 1) % 3  # all wrong on the base already
    oracle = Oracle(purified, 4)

    through = oracle.through("base")
    through.gradient(x, y, lambda logits, labels: logits.sum(1), torch.arange(4))

    assert oracle.forwards.tolist() == [1, 1, 1, 1]
    assert oracle.backwards.tolist() == [1, 1, 1, 1]
    assert len(oracle.open(torch.arange(4))) == len(through.open(torch.arange(4))) == 4


def test_a_success_through_bpda_is_one_of_the_defense(purified, images):
    x = images(4)
    y = (purified.model(x).argmax(1) + 1) % 3
    oracle = Oracle(purified, 4)

    oracle.through("bpda").gradient(x, y, lambda logits, labels: logits.sum(1), torch.arange(4))

    assert len(oracle.open(torch.arange(4))) == 0


def test_what_a_defense_declares_is_placed_with_it_and_so_is_what_attacks_transfer_from(halfspace):
    """One that was left behind, or in train mode, would be attacked as something it is not."""
    parts = [halfspace(seed=seed).train() for seed in range(6)]
    model, surrogate, base, purifier, derandomized, source = parts
    defense = Defense(
        model,
        surrogate=surrogate,
        base=base,
        purifier=purifier,
        derandomized=derandomized,
        transfer_source=Defense(source),
    )

    assert declared(defense) == parts
    assert placed(defense, "cpu") is model
    assert not any(part.training for part in parts)
