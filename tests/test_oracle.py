"""The oracle: what an attack may see, what is counted, what counts as broken."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.oracle import EVIDENCE_DRAWS, Oracle, margin
from bench.seeding import preserved_generators, seed_everything
from bench.types import Defense


def cross_entropy(logits, y):
    return F.cross_entropy(logits, y, reduction="none")


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x.flatten(1) @ self.weight


class Coin(nn.Module):
    """Class 1 with probability `x[0]`, whatever else the image shows."""

    def forward(self, x):
        heads = torch.rand(len(x)) < x.flatten(1)[:, 0]
        return torch.stack([~heads, heads], 1).float() + 0 * x.flatten(1)[:, :2]


@pytest.fixture
def x():
    return torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))


def test_the_gradient_is_that_of_each_examples_own_loss(x):
    model, y, rows = Linear(), torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6)

    answer = Oracle(Defense(model), 6).gradient(x, y, cross_entropy, rows)

    for i in range(6):
        alone = x[i : i + 1].clone().requires_grad_()
        (expected,) = torch.autograd.grad(F.cross_entropy(model(alone), y[i : i + 1]), alone)
        assert torch.allclose(answer.grad[i], expected[0], atol=1e-6)
    assert torch.allclose(answer.loss, cross_entropy(model(x), y))
    assert model.weight.grad is None
    assert not x.requires_grad


def test_eot_averages_gradients_of_independent_draws():
    class Scaled(nn.Module):
        def forward(self, x):
            return x.flatten(1) * (1 + torch.randn(len(x), 1))

    x, y = torch.ones(3, 1, 1, 2), torch.zeros(3, dtype=torch.int64)

    answer = Oracle(Defense(Scaled(), stochastic=True), 3).gradient(
        x, y, lambda logits, _: logits[:, 0], torch.arange(3), eot=4000
    )

    assert torch.allclose(answer.grad.flatten(1)[:, 0], torch.ones(3), atol=0.08)


def test_every_pass_is_booked_on_its_own_example(x):
    oracle = Oracle(Defense(Linear()), 6)
    y = torch.zeros(2, dtype=torch.int64)

    oracle.gradient(x[:2], y, cross_entropy, torch.tensor([4, 1]), eot=20)  # deterministic: one draw
    oracle.logits(x[:1], torch.tensor([4]))

    assert oracle.forwards.tolist() == [0, 1, 0, 0, 2, 0]
    assert oracle.backwards.tolist() == [0, 1, 0, 0, 1, 0]


def test_draws_of_a_stochastic_defense_are_all_booked(x):
    oracle = Oracle(Defense(Coin(), stochastic=True), 6)

    oracle.logits(x, torch.arange(6), eot=5)

    assert oracle.forwards.tolist() == [5] * 6


def test_a_misclassified_example_is_closed(x):
    model, rows = Linear(), torch.arange(6)
    right = model(x).argmax(1)
    y = torch.where(rows < 3, right, (right + 1) % 3)
    oracle = Oracle(Defense(model), 6)

    oracle.gradient(x, y, cross_entropy, rows)

    assert oracle.open(rows).tolist() == [0, 1, 2]


def test_one_lucky_draw_does_not_close_an_example_of_a_stochastic_defense():
    x = torch.full((200, 1, 1, 2), 0.5)
    y, rows = torch.zeros(200, dtype=torch.int64), torch.arange(200)
    oracle = Oracle(Defense(Coin(), stochastic=True), 200)

    for _ in range(5):
        oracle.gradient(x, y, cross_entropy, rows, eot=1)

    assert len(oracle.open(rows)) == 200


def test_evidence_closes_an_example_of_a_stochastic_defense():
    x = torch.ones(4, 1, 1, 2)
    y, rows = torch.zeros(4, dtype=torch.int64), torch.arange(4)
    oracle = Oracle(Defense(Coin(), stochastic=True), 4)

    oracle.gradient(x, y, cross_entropy, rows, eot=EVIDENCE_DRAWS)

    assert len(oracle.open(rows)) == 0


def test_an_answer_of_nan_counts_as_a_success():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.where(torch.arange(3) == 0, torch.nan, x.flatten(1)[:, :3])

    x, y = torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64)
    oracle = Oracle(Defense(Broken()), 2)

    answer = oracle.gradient(x, y, cross_entropy, torch.arange(2))

    assert answer.success.tolist() == [1, 1]


def test_a_tie_is_decided_as_the_judge_decides_it():
    """All logits equal, label 0: argmax says 0, so nothing is broken, and no example may be let go."""

    class Flat(nn.Module):
        def forward(self, x):
            return 0 * x.flatten(1)[:, :3]

    x, rows = torch.rand(2, 1, 2, 2), torch.arange(2)
    oracle = Oracle(Defense(Flat()), 2)

    answer = oracle.gradient(x, torch.tensor([0, 1]), cross_entropy, rows)

    assert answer.success.tolist() == [0, 1]
    assert oracle.open(rows).tolist() == [0]


@pytest.mark.parametrize("access", ["score", "decision"])
def test_an_attack_gets_no_more_than_its_access(x, access):
    oracle = Oracle(Defense(Linear()), 6, access=access)

    with pytest.raises(PermissionError, match="asked for a gradient"):
        oracle.gradient(x, torch.zeros(6, dtype=torch.int64), cross_entropy, torch.arange(6))
    if access == "score":
        assert not oracle.module()(x.requires_grad_()).requires_grad
    else:
        with pytest.raises(PermissionError, match="asked for logits"):
            oracle.logits(x, torch.arange(6))
        assert oracle.labels(x, torch.arange(6)).shape == (6,)


def test_the_module_view_is_differentiable_and_counts(x):
    oracle = Oracle(Defense(Linear()), 6)
    x = x.requires_grad_()

    oracle.module()(x).sum().backward()

    assert x.grad is not None
    assert oracle.forwards.sum() == 6
    assert oracle.backwards.sum() == 6


def test_queries_repeat_for_the_same_scope_and_differ_between_calls():
    x = torch.full((100, 1, 1, 2), 0.5)

    def two_calls():
        oracle = Oracle(Defense(Coin(), stochastic=True), 100, scope=(0, "shard"))
        return [oracle.logits(x, torch.arange(100)) for _ in range(2)]

    first, again = two_calls(), two_calls()

    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], first[1])


def test_generators_are_left_as_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    with preserved_generators():
        seed_everything("anything")
        torch.rand(10)

    assert torch.equal(torch.rand(3), expected)


def test_margin_is_positive_exactly_when_misclassified():
    logits = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(500) % 5

    assert torch.equal(margin(logits, y) > 0, logits.argmax(1) != y)
