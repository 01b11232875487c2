"""MALT aims at the classes whose boundaries are nearest, not at those of the largest logits."""

import pytest
import torch

from bench.attacks.lp import apgd
from bench.attacks.lp.apgd import APGDTargeted
from bench.attacks.lp.malt import MALT
from bench.errors import BenchError

NORMS = {"Linf": 1, "L2": 2, "L1": torch.inf}  # dual


@pytest.fixture
def aimed_at(monkeypatch):
    """The classes aimed at, query by query, a list per example."""
    seen, build = [], apgd.dlr_targeted
    monkeypatch.setattr(apgd, "dlr_targeted", lambda target: seen.append(target.tolist()) or build(target))
    return seen


def by_distance(model, x, y, family):
    """The wrong classes of a linear model, nearest boundary first."""
    weight, logits = model.weight.detach().double(), model(x).detach().double()
    gap = logits.gather(1, y[:, None]) - logits
    slope = torch.linalg.vector_norm(weight[y][:, None] - weight[None], ord=NORMS[family], dim=2)
    return (gap / slope).scatter(1, y[:, None], torch.inf).argsort(dim=1)[:, :-1]


@pytest.mark.parametrize("family", NORMS)
def test_targets_come_in_the_order_of_their_distance(launch, halfspace, images, aimed_at, family):
    """On a linear model the estimate is the distance; the order of the logits is another one."""
    model, x = halfspace(classes=8), images(6)
    model.weight.data *= torch.linspace(0.2, 3, 8)[:, None]  # so that slopes differ
    y = model(x).argmax(1)
    exact = by_distance(model, x, y, family)
    assert (exact != model(x).argsort(dim=1, descending=True)[:, 1:]).any(1).sum() >= 4

    launch(MALT(steps=1, targets=7), model, x, y, f"{family}:0.000001")

    assert aimed_at[::2] == exact.T.tolist()


def test_the_nearest_class_falls_to_one_target(launch, halfspace, images):
    """Where the likeliest class is out of reach and a less likely one is not, one target is enough."""
    model, x = halfspace(classes=8, seed=3), images(24, seed=1)
    model.weight.data *= torch.linspace(0.2, 3, 8)[:, None]
    y = model(x).argmax(1)
    reach = model.distance(x, y, "L2")
    other = (
        (by_distance(model, x, y, "L2")[:, 0] != model(x).argsort(dim=1, descending=True)[:, 1]).nonzero().squeeze(1)
    )
    assert len(other) >= 3

    broken = {MALT: 0, APGDTargeted: 0}
    for k in other[:6].tolist():
        for kind in broken:
            one, threat = x[k : k + 1], f"L2:{1.03 * reach[k].item():.7f}"
            x_adv, _ = launch(kind(steps=10, targets=1), model, one, y[k : k + 1], threat)
            broken[kind] += int((model(x_adv).argmax(1) != y[k]).sum())

    assert broken == {MALT: min(len(other), 6), APGDTargeted: 0}


def test_only_the_likeliest_candidates_are_measured(launch, halfspace, images, aimed_at):
    """Three candidates: a query for the logits, one with three gradients, then two targets of 11 queries."""
    model, x = halfspace(classes=8), images(2)
    y = model(x).argmax(1)

    _, oracle = launch(MALT(candidates=3, targets=2, steps=10), model, x, y, "Linf:0.000001")

    likely = model(x).argsort(dim=1, descending=True)[:, 1:4]
    for example in range(2):
        assert {classes[example] for classes in aimed_at} <= set(likely[example].tolist())
    assert oracle.forwards.tolist() == [1 + 1 + 22] * 2
    assert oracle.backwards.tolist() == [3 + 22] * 2


def test_a_broken_image_stays_where_it_is(launch, halfspace, images):
    """The query that measures distances has told that it is broken: nothing follows."""
    model, x = halfspace(classes=5), images(3)
    y = (model(x).argmax(1) + 1) % 5

    x_adv, oracle = launch(MALT(steps=5), model, x, y, "L2:0.5")

    assert oracle.forwards.tolist() == [2] * 3
    assert oracle.backwards.tolist() == [4] * 3
    assert torch.equal(x_adv, x)


@pytest.mark.parametrize("shift", [0.0, torch.nan])
def test_without_a_gradient_the_order_is_that_of_the_logits(launch, halfspace, images, aimed_at, shift):
    """A gradient of zero, or not a number, says nothing; nothing is divided by it."""
    model, x = halfspace(classes=5), images(2)

    class Flat(torch.nn.Module):
        def forward(self, x):
            return model(x.detach()) + 0 * x.flatten(1).sum(1, keepdim=True) if shift == 0 else Spoilt.apply(x)

    class Spoilt(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return model(x)

        @staticmethod
        def backward(ctx, grad):
            return torch.full_like(ctx.saved_tensors[0], torch.nan)

    launch(MALT(steps=1), Flat(), x, model(x).argmax(1), "Linf:0.000001")

    assert aimed_at[::2] == model(x).argsort(dim=1, descending=True)[:, 1:].T.tolist()


def test_it_breaks_what_targeted_apgd_breaks(launch, robust_digits):
    """With a target for every class only the order differs."""
    model, x, y = robust_digits

    malt, theirs = (launch(kind(steps=15), model, x, y, "Linf:0.15") for kind in (MALT, APGDTargeted))

    left = [int((model(x_adv).argmax(1) == y).sum()) for x_adv, _ in (malt, theirs)]
    assert 2 <= left[1] <= 28
    assert left[0] <= left[1] + 1


def test_a_threat_or_parameter_it_is_not_defined_for_is_refused(launch, halfspace, images):
    """One line each."""
    with pytest.raises(BenchError, match="MALT is not defined for stadv:1: it attacks Linf, L2, L1"):
        launch(MALT(), halfspace(), images(1), torch.tensor([0]), "stadv:1")
    with pytest.raises(BenchError, match="MALT: candidates=0 must be at least 1"):
        MALT(candidates=0)
    with pytest.raises(BenchError, match="targets=0 must be at least 1"):
        MALT(targets=0)
