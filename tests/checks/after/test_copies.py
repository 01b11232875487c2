"""A model in memory is judged again by a copy from before its first query."""

import torch
from torch import nn

import bench
from bench.checks.after.copies import copied, fresh


class Tired(nn.Module):
    """Wrong about its classes until its gradient has been asked for more than `after` times, and right from then on."""

    def __init__(self, after):
        super().__init__()
        self.after, self.seen = after, 0
        self.weight = nn.Parameter(torch.eye(4))

    def forward(self, x):
        self.seen += x.requires_grad
        logits = x.flatten(1) @ self.weight
        return logits if self.seen > self.after else logits.roll(1, 1)


class Uncopied(Tired):
    def __deepcopy__(self, memo):
        raise TypeError("no")


def images():
    x = torch.eye(4).view(4, 1, 2, 2).repeat(4, 1, 1, 1) * 0.8
    return x, torch.arange(4).repeat(4)


def a13(model):
    results = bench.evaluate(
        model, "fgsm", "Linf:0.01", dataset=images(), despite="S01,S02,S03,S04,S05,S06,S07,S08,S09,S10,S11,S14,S17"
    )
    return next(found for found in results[0].findings if found.id == "A13")


def test_state_from_the_attack_does_not_make_its_verdicts_reproducible():
    """In the very instance that was attacked everything would come out again."""
    assert a13(Tired(after=-1)).verdict == "pass"
    assert a13(Tired(after=0)).verdict == "block"


def test_what_cannot_be_copied_is_not_said_to_be_checked():
    found = a13(Uncopied(after=-1))

    assert found.idle
    assert not found.passed


def test_a_copy_is_as_it_was_and_gone_afterwards():
    model = Tired(after=3)
    with copied({"model": model}):
        model(images()[0].requires_grad_())
        assert fresh("model").seen == fresh("model#new").seen == 0
    assert fresh("model") is None
