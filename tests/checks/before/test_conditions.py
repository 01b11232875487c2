"""A gradient that is another in another batch: an alarm only where it says less of what steps do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.checks.before.conditions import other_gradient
from bench.checks.before.pristine import Pristine
from bench.checks.before.subject import Subject
from bench.datasets.digits import digits
from bench.types import Defense


class ByBatch(nn.Module):
    """Linear; in batches above 64 its gradient is `share` of its slopes, and otherwise that of something else."""

    def __init__(self, scale, share):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        weight, strange = torch.randn(2, 10, 64, generator=generator)
        self.weight = nn.Parameter(scale * weight, requires_grad=False)
        self.other = nn.Parameter(scale * (share * weight + (1 - share) * strange), requires_grad=False)

    def forward(self, x):
        flat = x.flatten(1)
        logits = torch.arange(10.0) + flat @ self.weight.T
        slopes = flat @ (self.other if len(x) > 64 else self.weight).T
        return logits.detach() + slopes - slopes.detach()


def asked(scale, share):
    """What is said of the gradient in a large batch."""
    model = ByBatch(scale, share)
    subject = Subject(Defense(model), digits("test"), 0.2, Pristine(model, "cpu"))
    leaf = subject.x.clone().requires_grad_()
    logits = model(leaf)
    rival = logits.scatter(1, subject.y[:, None], -torch.inf).amax(1)
    (grad,) = torch.autograd.grad((rival - logits.gather(1, subject.y[:, None])[:, 0]).sum(), leaf)
    with torch.no_grad():
        return other_gradient(subject, grad)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_slopes_that_are_not_those_of_the_answers_are_told(share):
    assert asked(1.0, share).startswith("in a batch of 130 images")


def test_the_same_slopes_are_not():
    assert asked(1.0, 1.0) == ""


def test_where_steps_are_lost_in_rounding_one_gradient_is_as_good_as_another():
    """As behind a pooling over activations that tie but for rounding."""
    assert asked(1e-12, 0.0) == ""
