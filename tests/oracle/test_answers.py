"""Answers that are no logits: what is said of them, wherever a defense is first asked."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.catalogue import brought
from bench.checks.before.preflight import preflight
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness.evaluate import judge
from bench.oracle.answers import FaultyDefense, check_logits, each_draw, margin
from bench.types import Defense, ImageSpec

# What a binary classifier returns that was made for a sigmoid: [B, 1], or [B].
ONE_LOGIT = {"a column": lambda z: z, "a row": lambda z: z.squeeze(1)}


class Binary(nn.Module):
    """One number per image."""

    def __init__(self, shaped):
        super().__init__()
        self.head, self.shaped = nn.Linear(64, 1), shaped

    def forward(self, x):
        return self.shaped(self.head(x.flatten(1)))


def remedy(message):
    """The expression that a message says to return."""
    return re.search(r"return (torch\.\w+\(\[.*?\], 1\))", message)[1]


@pytest.mark.parametrize("shaped", ONE_LOGIT.values(), ids=ONE_LOGIT)
def test_the_remedy_for_one_logit_keeps_every_decision_and_probability(shaped):
    """Pasted as it is printed, it gives two logits, decides at 0, and its softmax is the sigmoid."""
    z = shaped(torch.linspace(-8, 8, 17)[:, None])

    with pytest.raises(FaultyDefense) as error:
        check_logits(z, 17)
    logits = eval(remedy(str(error.value)), {"torch": torch, "z": z})  # noqa: S307  (what our own message says)

    check_logits(logits, 17)
    assert torch.equal(logits.argmax(1), (z.flatten() > 0).long())
    assert torch.allclose(logits.softmax(1)[:, 1], z.flatten().sigmoid())


@pytest.mark.parametrize("shaped", ONE_LOGIT.values(), ids=ONE_LOGIT)
def test_whoever_asks_first_names_the_remedy_for_one_logit(shaped):
    """While a run is planned, in the preflight, and before the judge counts a column of zeros as an answer."""
    model, spec = Binary(shaped).eval(), ImageSpec((1, 8, 8), 2)

    with pytest.raises(BenchError) as planned:
        brought.draws_differ(model, "./mine.py:build", spec)
    found = {finding.id: finding for finding in preflight(Defense(model), digits("test").first(16))}
    with pytest.raises(FaultyDefense) as judged:
        judge(model, torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64), 1, ("test",))

    assert found["S02"].verdict == "block"
    for message in (str(planned.value), found["S02"].message, str(judged.value)):
        assert remedy(message)
        assert "before any sigmoid" in message
        assert "\n" not in message


@pytest.mark.parametrize("answer", [torch.zeros(4, dtype=torch.int64), torch.zeros(4, 3, 1), torch.zeros(3, 2)])
def test_other_wrong_answers_are_no_binary_classifiers(answer):
    """Labels, too many axes, another number of rows: two columns would mend none of them."""
    with pytest.raises(FaultyDefense, match="expected") as error:
        check_logits(answer, 4)

    assert "one logit" not in str(error.value)


def cross_entropy(logits, y):
    return F.cross_entropy(logits, y, reduction="none")


def test_a_loss_of_many_draws_is_called_once_unless_it_may_know_of_rows():
    """Either way each draw has the loss it has alone."""
    logits, y = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 3])
    target, sizes = torch.tensor([1, 2, 0]), []

    def towards(logits, y):
        sizes.append(len(y))
        return (logits - logits.amax(1, keepdim=True)).gather(1, target[:, None]).squeeze(1)

    class Method:
        def __call__(self, logits, y):
            return towards(logits, y)

        loss = __call__

    expected = torch.stack([cross_entropy(each, y) for each in logits])
    assert torch.allclose(each_draw(_plain, logits, y), expected)
    for loss in (towards, Method(), Method().loss, lambda logits, y, target=target: towards(logits, y)):
        sizes.clear()
        assert torch.equal(each_draw(loss, logits, y), torch.stack([towards(each, y) for each in logits]))
        assert set(sizes) == {3}
    told_sizes.clear()
    each_draw(_plain, logits, y)
    assert told_sizes == [15]


told_sizes = []


def _plain(logits, y):
    told_sizes.append(len(y))
    return cross_entropy(logits, y)


def test_margin_is_positive_exactly_when_misclassified():
    logits = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(500) % 5

    assert torch.equal(margin(logits, y) > 0, logits.argmax(1) != y)
