"""The oracle: what an attack may see, what is counted, what counts as broken."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.oracle.module import CountedModule
from bench.oracle.oracle import EVIDENCE_DRAWS, Oracle
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


def test_several_losses_at_one_point_cost_one_forward(x):
    """And their gradients are those that each loss has alone."""
    model, y, rows = nn.Sequential(Linear(), nn.Tanh()), torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6)
    losses = [lambda logits, y, k=k: logits[:, k] - logits.gather(1, y[:, None]).squeeze(1) for k in range(3)]
    oracle, alone = Oracle(Defense(model), 6), Oracle(Defense(model), 6)

    together = oracle.gradients(x, y, losses, rows)

    for reply, loss in zip(together, losses, strict=True):
        expected = alone.gradient(x, y, loss, rows)
        assert all(torch.equal(mine, its) for mine, its in zip(reply, expected, strict=True))
    assert oracle.forwards.tolist() == [1] * 6
    assert oracle.backwards.tolist() == alone.backwards.tolist() == [3] * 6
    assert oracle.broken.tolist() == alone.broken.tolist()


def test_every_loss_of_a_stochastic_defense_has_draws_of_its_own():
    """A forward shared by losses would make their noise the same."""
    x, y, rows = torch.full((3, 1, 1, 2), 0.5), torch.ones(3, dtype=torch.int64), torch.arange(3)
    oracle = Oracle(Defense(Coin(), stochastic=True), 3)

    replies = oracle.gradients(x, y, [cross_entropy] * 2, rows, eot=40)

    assert oracle.forwards.tolist() == [80] * 3
    assert not torch.equal(replies[0].loss, replies[1].loss)


def test_eot_averages_gradients_of_independent_draws():
    class Scaled(nn.Module):
        def forward(self, x):
            return x.flatten(1) * (1 + torch.randn(len(x), 1))

    x, y = torch.ones(3, 1, 1, 2), torch.zeros(3, dtype=torch.int64)

    answer = Oracle(Defense(Scaled(), stochastic=True), 3).gradient(
        x, y, lambda logits, _: logits[:, 0], torch.arange(3), eot=4000
    )

    assert torch.allclose(answer.grad.flatten(1)[:, 0], torch.ones(3), atol=0.08)


class Scaled(nn.Module):
    """Linear, times a random number per image."""

    def __init__(self):
        super().__init__()
        self.linear = Linear()

    def forward(self, x):
        return self.linear(x) * (1 + torch.rand(len(x), 1))


@pytest.mark.parametrize("rows_at_once", [1, 12, 100])
def test_draws_apart_are_those_of_the_mean(x, rows_at_once):
    """The same query of two oracles: the mean of its draws is what the other calls the answer, and costs the same."""
    y, rows = torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6)
    apart, together = (
        Oracle(Defense(Scaled(), stochastic=True), 6, rows_at_once=rows_at_once, scope=("s",)) for _ in range(2)
    )

    every, mean = apart.gradient_of_each(x, y, cross_entropy, rows, eot=5)
    expected = together.gradient(x, y, cross_entropy, rows, eot=5)

    assert every.grad.shape == (5, *x.shape)
    assert every.logits.shape == (5, 6, 3)
    for drawn, field, its in zip(every, mean, expected, strict=True):
        assert torch.allclose(drawn.mean(0), its, atol=1e-6)
        assert torch.allclose(field, its, atol=1e-6)
    # Each draw scales the logits by a number of its own, which its gradient, and no other, follows.
    linear = Linear()
    for draw in range(5):
        scale = (every.logits[draw] / linear(x)).detach().mean(1)
        at = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(cross_entropy(linear(at) * scale[:, None], y).sum(), at)
        assert torch.allclose(every.grad[draw], grad, atol=1e-5)
    assert apart.forwards.tolist() == together.forwards.tolist() == [5] * 6
    assert apart.backwards.tolist() == together.backwards.tolist() == [5] * 6


def test_draws_apart_are_evidence_as_the_mean_is():
    """Ten wrong draws are confirmed by fifty more before the example is closed, and a right one leaves it open."""
    x = torch.tensor([1.0, 0.5]).view(2, 1, 1, 1).expand(2, 1, 1, 2).contiguous()
    y, rows = torch.zeros(2, dtype=torch.int64), torch.arange(2)
    oracle = Oracle(Defense(Coin(), stochastic=True), 2)

    every, mean = oracle.gradient_of_each(x, y, cross_entropy, rows, eot=EVIDENCE_DRAWS)

    assert every.success[:, 0].tolist() == [1] * EVIDENCE_DRAWS
    assert mean.success[0] == 1
    assert oracle.open(rows).tolist() == [1]
    assert oracle.forwards.tolist() == [60, 10]


def test_a_deterministic_defense_has_one_draw(x):
    y, rows = torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6)
    oracle = Oracle(Defense(Linear()), 6)

    every, mean = oracle.gradient_of_each(x, y, cross_entropy, rows, eot=7)

    assert every.grad.shape == (1, *x.shape)
    assert torch.equal(every.grad[0], mean.grad)
    assert oracle.forwards.tolist() == oracle.backwards.tolist() == [1] * 6


@pytest.mark.parametrize("stochastic", [True, False])
def test_draws_apart_need_the_right_to_a_gradient(x, stochastic):
    oracle = Oracle(Defense(Scaled(), stochastic=stochastic), 6, access="score")

    with pytest.raises(PermissionError, match="score-based and asked for a gradient"):
        oracle.gradient_of_each(x, torch.zeros(6, dtype=torch.int64), cross_entropy, torch.arange(6), eot=2)


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
        assert not CountedModule(oracle)(x.requires_grad_()).requires_grad
    else:
        with pytest.raises(PermissionError, match="asked for logits"):
            oracle.logits(x, torch.arange(6))
        assert oracle.labels(x, torch.arange(6)).shape == (6,)


def test_queries_repeat_for_the_same_scope_and_differ_between_calls():
    x = torch.full((100, 1, 1, 2), 0.5)

    def two_calls():
        oracle = Oracle(Defense(Coin(), stochastic=True), 100, scope=(0, "shard"))
        return [oracle.logits(x, torch.arange(100)) for _ in range(2)]

    first, again = two_calls(), two_calls()

    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], first[1])


def test_a_point_outside_the_threat_model_breaks_nothing(x):
    """Its gradient, its loss and its success are told as ever; only the example stays open."""
    model, rows = Linear(), torch.arange(6)
    y = (model(x).argmax(1) + 1) % 3
    inside = torch.tensor([True, False, True, False, True, False])
    oracle, other = Oracle(Defense(model), 6), Oracle(Defense(model), 6)

    answer = oracle.gradient(x, y, cross_entropy, rows, inside=inside)

    plain = other.gradient(x, y, cross_entropy, rows)
    assert oracle.open(rows).tolist() == [1, 3, 5]
    assert len(other.open(rows)) == 0
    assert all(torch.equal(one, two) for one, two in zip(answer, plain, strict=True))


def test_a_point_outside_is_not_worth_confirming():
    """Nor does it break an example of a stochastic defense; the fresh draws are saved."""
    x, y, rows = torch.ones(4, 1, 1, 2), torch.zeros(4, dtype=torch.int64), torch.arange(4)
    oracle = Oracle(Defense(Coin(), stochastic=True), 4)

    oracle.gradient(x, y, cross_entropy, rows, eot=EVIDENCE_DRAWS, inside=rows < 1)

    assert oracle.open(rows).tolist() == [1, 2, 3]
    assert (oracle.forwards > EVIDENCE_DRAWS).tolist() == [True, False, False, False]


def test_an_answer_that_is_not_finite_is_no_label():
    """The largest of NaN would be a class, the true one perhaps; it must count as wrong."""

    class Blank(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[0.0, float("nan")], [1.0, 0.0]])

    oracle = Oracle(Defense(Blank()), 2, access="decision")

    labels = oracle.labels(torch.zeros(2, 1, 2, 2), torch.arange(2))

    assert labels.tolist() == [-1, 0]


class Shifted(nn.Module):
    """A stand-in that answers like the defense, with `bias` on class 0."""

    def __init__(self, model, bias):
        super().__init__()
        self.model, self.bias = model, torch.tensor([bias, 0.0, 0.0])

    def forward(self, x):
        return self.model(x) + self.bias


@pytest.mark.parametrize("access", ["gradient", "score"])
def test_what_a_stand_in_calls_a_success_the_defense_is_asked_about(x, access):
    """It calls everything class 0; the example is broken only where the defense says so, too."""
    model, rows = Linear(), torch.arange(6)
    right = model(x).argmax(1)
    y = torch.where(rows < 3, right, (right + 1) % 3)
    y = torch.where(y == 0, 1, y)
    oracle = Oracle(Defense(model), 6, access=access, fast=Shifted(model, 100.0), labels=y)

    if access == "gradient":
        answer = oracle.gradient(x, y, cross_entropy, rows)
        logits, wrong = answer.logits, answer.success == 1
    else:
        logits = oracle.logits(x, rows)
        wrong = logits.argmax(1) != y

    assert torch.equal(wrong, model(x).argmax(1) != y)
    assert torch.allclose(logits, model(x))
    assert oracle.forwards.tolist() == [2] * 6
    if access == "gradient":
        assert torch.equal(oracle.broken, wrong)


def test_a_stand_in_is_believed_where_it_sees_no_success(x):
    """The judge asks the defense about every proposal, so that takes no second query."""
    model, rows = Linear(), torch.arange(6)
    y = torch.zeros(6, dtype=torch.int64)
    oracle = Oracle(Defense(model), 6, fast=Shifted(model, 100.0), labels=y)

    answer = oracle.gradient(x, y, cross_entropy, rows)

    assert oracle.forwards.tolist() == [1] * 6
    assert not answer.success.any()


def test_a_stochastic_defense_has_the_last_word_on_its_stand_in():
    """All draws of the stand-in are wrong; the fresh ones that evidence takes are the defense's own."""
    always, never = torch.ones(4, 1, 1, 2), torch.zeros(4, dtype=torch.int64)

    class Right(nn.Module):
        def forward(self, x):
            return torch.stack([torch.ones(len(x)), torch.zeros(len(x))], 1) + 0 * x.flatten(1)[:, :2]

    oracle = Oracle(Defense(Right(), stochastic=True), 4, fast=Coin())

    answer = oracle.gradient(always, never, cross_entropy, torch.arange(4), eot=EVIDENCE_DRAWS)

    assert len(oracle.open(torch.arange(4))) == 4
    assert (answer.success < 1).all()


@pytest.mark.parametrize("rows_at_once", [1, 7, 40, 1000])
def test_draws_that_share_a_forward_are_as_many_and_as_good(rows_at_once):
    """Means over 200 draws of a coin that falls with known probability, and every pass booked."""
    x = torch.linspace(0.1, 0.9, 5)[:, None, None, None].repeat(1, 1, 1, 2)
    y, rows = torch.zeros(5, dtype=torch.int64), torch.arange(5)
    calls = []
    oracle = Oracle(Defense(Coin(), stochastic=True), 5, rows_at_once=rows_at_once, on_pass=calls.append)

    answer = oracle.gradient(x, y, lambda logits, y: logits[:, 1] * x[:, 0, 0, 0].sum(), rows, eot=200)
    mean = oracle.logits(x, rows, eot=200)

    assert torch.allclose(answer.success, x[:, 0, 0, 0], atol=0.15)
    assert torch.allclose(mean[:, 1], x[:, 0, 0, 0], atol=0.15)
    assert oracle.forwards.tolist() == [400] * 5
    assert oracle.backwards.tolist() == [200] * 5
    assert max(calls) <= max(rows_at_once, 5)
    assert sum(calls) == 2000


def test_the_gradient_of_draws_that_share_a_forward_is_their_mean():
    class Scaled(nn.Module):
        def forward(self, x):
            return x.flatten(1) * (1 + torch.randn(len(x), 1))

    x, y, rows = torch.ones(3, 1, 1, 2), torch.zeros(3, dtype=torch.int64), torch.arange(3)
    oracle = Oracle(Defense(Scaled(), stochastic=True), 3, rows_at_once=64)

    answer = oracle.gradient(x, y, lambda logits, _: logits[:, 0], rows, eot=4000)

    assert torch.allclose(answer.grad.flatten(1)[:, 0], torch.ones(3), atol=0.08)
    assert torch.equal(answer.grad.flatten(1)[:, 1], torch.zeros(3))


def test_targets_stay_with_their_rows_when_draws_share_a_forward():
    """A loss may know of one target per row; it is asked draw by draw."""

    class Plain(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3]

    x, target = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 2, 0])
    oracle = Oracle(Defense(Plain(), stochastic=True), 4, rows_at_once=100)

    answer = oracle.gradient(
        x, target, lambda logits, _: logits.gather(1, target[:, None])[:, 0], torch.arange(4), eot=9
    )

    assert torch.allclose(answer.grad.flatten(1)[:, :3], torch.nn.functional.one_hot(target, 3).float())


def test_passes_on_broken_examples_are_called_wasted(x):
    model, rows = Linear(), torch.arange(6)
    y = (model(x).argmax(1) + 1) % 3
    oracle = Oracle(Defense(model), 6)

    oracle.gradient(x[:2], y[:2], cross_entropy, rows[:2])
    oracle.gradient(x[1:3], y[1:3], cross_entropy, rows[1:3])

    assert oracle.wasted.tolist() == [0, 2, 0, 0, 0, 0]


def test_a_point_outside_is_no_success_to_ask_about(x):
    """A search beyond the ball calls many points wrong; none of them breaks anything."""
    model, rows = Linear(), torch.arange(6)
    y = torch.ones(6, dtype=torch.int64)
    oracle = Oracle(Defense(model), 6, fast=Shifted(model, 100.0), labels=y)

    logits = oracle.logits(x, rows, inside=rows < 2)

    assert oracle.forwards.tolist() == [2, 2, 1, 1, 1, 1]
    assert torch.allclose(logits[:2], model(x[:2]))
    assert torch.allclose(logits[2:], Shifted(model, 100.0)(x[2:]))
