"""PMA climbs the terms of the probability margin one after the other, in steps along a cosine."""

import math

import pytest
import torch
from torch import nn

from bench.attacks.losses import LOSSES, best_wrong_probability, cross_entropy, probability_margin
from bench.attacks.lp import pma
from bench.attacks.lp.pgd import PGD
from bench.attacks.lp.pma import PMA
from bench.errors import BenchError


class Steep(nn.Module):
    """A linear classifier whose probabilities float32 rounds to one and zero."""

    def __init__(self, linear, scale=1e4):
        super().__init__()
        self.linear, self.scale = linear, scale

    def forward(self, x):
        return self.scale * self.linear(x)


def test_each_half_of_each_run_has_its_loss_and_its_cosine(launch, halfspace, images, monkeypatch):
    """Minus the true probability, then the margin; the best wrong one, then the margin; from 2 eps to 0 each."""
    model, x = halfspace(classes=5), images(1)
    y, eps = model(x).argmax(1), 1e-4
    asked, moves = [], []
    names = {cross_entropy: "true", best_wrong_probability: "wrong", probability_margin: "margin"}
    monkeypatch.setattr(pma, "direction", lambda grad, _: torch.ones_like(grad))
    monkeypatch.setattr(pma, "project", lambda there, here, t: moves.append(there.max() - x.max()) or here)
    monkeypatch.setattr(pma, "random_in_ball", lambda x, *_: x)
    from bench.oracle.oracle import Oracle

    query = Oracle.gradient
    monkeypatch.setattr(
        Oracle,
        "gradient",
        lambda self, x, y, loss, *a, **k: asked.append(names[loss]) or query(self, x, y, loss, *a, **k),
    )

    launch(PMA(steps=8), model, x, y, f"Linf:{eps}")

    assert asked == ["true"] * 4 + ["margin"] * 4 + ["wrong"] * 4 + ["margin"] * 4
    expected = [eps * (1 + math.cos(math.pi * step / 4)) for step in range(4)] * 4
    assert [float(move) for move in moves] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("family", ["Linf", "L2"])
@pytest.mark.parametrize("attack", [PMA(steps=20), PGD(loss="pm")])
def test_a_saturated_softmax_is_no_defense(launch, halfspace, images, family, attack):
    """Logits in the thousands: the textbook gradient of the probabilities is zero at every image, ours breaks them."""
    model, x = halfspace(classes=4), images(8)
    steep = Steep(model)
    y = model(x).argmax(1)
    at = x.clone().requires_grad_()
    p = steep(at).softmax(1)
    (textbook,) = torch.autograd.grad((1 - p.gather(1, y[:, None])).sum(), at)
    threat = f"{family}:{1.5 * model.distance(x, y, family).max().item():.4f}"

    x_adv, _ = launch(attack, steep, x, y, threat)

    assert (textbook.abs().amax((1, 2, 3)) == 0).all()
    assert (steep(x_adv).argmax(1) != y).all()


def test_passes_are_those_that_the_catalogue_declares(launch, halfspace, images):
    """Two runs of 100 steps, and a look at each end, which takes no gradient of a deterministic defense."""
    model, x = halfspace(classes=5), images(2)

    _, oracle = launch(PMA(), model, x, model(x).argmax(1), "Linf:0.000001")

    assert oracle.forwards.tolist() == [202, 202]
    assert oracle.backwards.tolist() == [200, 200]


def test_its_loss_is_a_name_for_other_attacks():
    assert LOSSES["pm"] is probability_margin


def test_a_run_needs_a_step_for_each_half():
    with pytest.raises(BenchError, match="PMA: steps=0 must be at least 1"):
        PMA(steps=0)


def test_a_family_of_another_kind_is_refused(launch, halfspace, images):
    with pytest.raises(BenchError, match="PMA is not defined for L1:1: it attacks Linf, L2"):
        launch(PMA(), halfspace(), images(1), torch.tensor([0]), "L1:1")
