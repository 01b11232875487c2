"""A defense in one draw: every example meets the same random numbers in every query, whatever else is asked."""

import pytest
import torch
from torch import nn

from bench.attacks.losses import LOSSES
from bench.oracle.known_draws import FixedDraw, KnownDraw
from bench.oracle.randomness import seed_everything
from bench.types import Defense

SEED = (0, "shard", "clean", 3)


class Noisy(nn.Module):
    """Adds noise to each image of a batch and classifies by fixed templates."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randn(16, 5, generator=torch.Generator().manual_seed(1)))

    def forward(self, x):
        return (x + torch.randn_like(x)).flatten(1) @ self.weight


@pytest.fixture
def shard():
    return torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(2))


def oracle(shard, places, **more):
    return KnownDraw(Defense(Noisy(), stochastic=True), SEED, shard, torch.tensor(places), **more)


def whole(x):
    """The answers of the defense to a whole shard in this draw, without an oracle."""
    seed_everything(*SEED)
    return Noisy()(x)


def test_a_draw_is_the_same_in_every_forward(shard):
    model = FixedDraw(Noisy(), SEED)

    assert torch.equal(model(shard), model(shard))
    assert torch.equal(model(shard), whole(shard))
    assert not torch.equal(model(shard), FixedDraw(Noisy(), (*SEED[:3], 4))(shard))


def test_what_the_attack_drops_does_not_change_the_numbers_of_the_others(shard):
    """Examples 1, 2, 4 and 6 of the shard; three of them moved, in another order, and only two in a later query."""
    places = [1, 2, 4, 6]
    asked = oracle(shard, places)
    rows = torch.tensor([3, 0, 2])
    moved = shard[[6, 1, 4]] * 0.5
    expected = whole(shard.index_copy(0, torch.tensor([6, 1, 4]), moved))[[6, 1, 4]]

    assert torch.equal(asked.logits(moved, rows), expected)
    assert torch.equal(asked.logits(moved[:2], rows[:2]), expected[:2])


def test_the_gradient_is_that_of_the_same_draw(shard):
    asked, rows, y = oracle(shard, [1, 2, 4, 6]), torch.tensor([2, 0]), torch.tensor([0, 3])
    x = shard[[4, 1]].clone().requires_grad_()
    logits = whole(shard.index_copy(0, torch.tensor([4, 1]), x))[[4, 1]]
    (expected,) = torch.autograd.grad(LOSSES["ce"](logits, y).sum(), x)

    reply = asked.gradient(x.detach(), y, LOSSES["ce"], rows, eot=20)

    assert torch.equal(reply.grad, expected)
    assert torch.equal(reply.logits, logits.detach())


def test_several_points_of_one_example_are_asked_one_after_the_other(shard):
    """There is one place for an example: its second point must not meet the numbers of another."""
    asked, rows = oracle(shard, [1, 2, 4, 6]), torch.tensor([0, 3, 0, 0, 3])
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    places = [1, 6, 1, 1, 6]
    expected = [whole(shard.index_copy(0, torch.tensor([at]), x[i : i + 1]))[at] for i, at in enumerate(places)]

    answers = asked.logits(x, rows)

    assert torch.allclose(answers, torch.stack(expected), atol=1e-6)
    # Three points of example 0 take three forwards, each of the whole shard.
    assert asked.forwards.tolist() == [3, 3, 3, 3]
    assert asked.beside == [3, 0]


def test_the_ledger_holds_what_was_computed_and_not_what_was_asked(shard):
    """Three queries with a gradient and one without about one example of four: all seven images went through."""
    passed = []
    asked = oracle(shard, [1, 2, 4, 6], on_pass=passed.append)
    row, y = torch.tensor([1]), torch.tensor([4])

    for _ in range(3):
        asked.gradient(shard[[2]], y, LOSSES["ce"], row)
    asked.logits(shard[[2]], row)

    assert asked.forwards.tolist() == [4, 4, 4, 4]
    assert asked.backwards.tolist() == [3, 3, 3, 3]
    assert asked.beside == [4, 3]
    assert passed == [7, 7, 7, 7]


def test_passes_on_broken_examples_are_wasted(shard):
    asked, y = oracle(shard, [1, 2]), whole(shard).argmin(1)

    asked.gradient(shard[[1]], y[[1]], LOSSES["ce"], torch.tensor([0]))  # breaks it: the label is the worst class
    asked.gradient(shard[[2]], y[[2]], LOSSES["ce"], torch.tensor([1]))

    assert asked.broken.tolist() == [True, True]
    assert asked.wasted.tolist() == [2, 0]


def test_a_variant_with_other_numbers_is_refused(shard):
    with pytest.raises(NotImplementedError, match="draws other numbers"):
        oracle(shard, [1]).through("bpda")
