"""S03 and S04: noise of every kind on templates, and what is said of it."""

import pytest
import torch

from bench.checks.before.randomness import batch, examine
from tests.checks.before.models import Linear, Wrapped, on_the_bench

OWN = torch.Generator().manual_seed(0)


def per_row(self, x, logits):
    return logits + torch.randn(len(x), 10)


def per_batch(self, x, logits):
    return logits + torch.randn(10)


def of_its_own(self, x, logits):
    return logits + torch.randn(len(x), 10, generator=OWN)


def none(self, x, logits):
    return logits


def tiny(self, x, logits):
    return logits + 1e-9 * torch.randn(len(x), 10)


@pytest.mark.parametrize(
    ("how", "declared", "verdict", "says"),
    [
        (none, False, "pass", "forward is deterministic"),
        (none, True, "info", "declared stochastic, but answers do not change"),
        (tiny, False, "pass", "forward is deterministic"),
        (per_row, True, "info", "EOT and N-evaluation are on"),
        (per_row, False, "flag", "set stochastic=True"),
        (per_batch, True, "flag", "shared by its rows"),
        (of_its_own, True, "flag", "ignores torch, numpy and random seeds"),
    ],
)
def test_what_an_answer_depends_on_beside_the_image_is_told(how, declared, verdict, says):
    found = examine(on_the_bench(Wrapped(how), stochastic=declared))

    assert found.verdict == verdict
    assert says in found.message


@pytest.mark.parametrize(
    ("how", "random", "repeatable"),
    [(none, False, True), (per_row, True, True), (per_batch, True, True), (of_its_own, True, False)],
)
def test_later_checks_learn_whether_answers_can_be_repeated(how, random, repeatable):
    subject = on_the_bench(Wrapped(how), stochastic=True)

    examine(subject)

    assert (subject.random, subject.repeatable) == (random, repeatable)


def by_mean(self, x, logits):
    return logits - logits.mean(0)


def by_place(self, x, logits):
    return logits + torch.arange(len(x))[:, None] * torch.eye(10)[0]


def by_size(self, x, logits):
    return logits + (len(x) > 1) * torch.eye(10)[0]


def by_large_size(self, x, logits):
    return logits + (len(x) > 100) * torch.eye(10)[0]


def shifted(self, x, logits):
    return per_row(self, x, logits) + 9 * (len(x) > 2) * torch.eye(10)[0]


@pytest.mark.parametrize(
    ("how", "declared", "verdict"),
    [
        (none, False, "pass"),
        (per_row, True, "pass"),
        (by_mean, False, "block"),
        (by_place, False, "block"),
        (by_size, False, "block"),
        (by_large_size, False, "block"),
        (shifted, True, "block"),
    ],
)
def test_logits_that_depend_on_companions_place_or_size_of_the_batch_are_blocked(how, declared, verdict):
    """Noise of the usual kind hides no shift by the batch, and is not taken for one."""
    subject = on_the_bench(Wrapped(how), stochastic=declared)
    examine(subject)

    assert batch(subject).verdict == verdict


def test_examining_leaves_the_defense_as_it_was():
    model = Linear()
    before = model.weight.clone()

    examine(on_the_bench(model))

    assert torch.equal(model.weight, before)
