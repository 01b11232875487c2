"""DiffHammer follows the draws that can be broken together, where the mean gradient of all draws leads nowhere."""

import math

import pytest
import torch
from torch import nn

from bench.attacks.lp.pgd import PGD
from bench.attacks.purifiers.diffhammer import DiffHammer, shared_direction
from bench.errors import BenchError
from bench.threats import ThreatModel

LINF = ThreatModel.parse("Linf:1")


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def by_hand(grads, losses, eps, norm, rounds, sharpness):
    """The mixture for one example in plain Python, float64: `grads` is a list of vectors, `losses` of numbers."""

    def unit(v):
        length = math.sqrt(sum(a * a for a in v))
        return [math.copysign(1, a) * (a != 0) for a in v] if norm == "Linf" else [a / length for a in v]

    def gain(u, g):
        return eps * sum(a * b for a, b in zip(u, g, strict=True))

    def elu(z):
        return z if z > 0 else math.exp(z) - 1

    n = len(losses)
    promises = [sum(elu(losses[i] + gain(unit(grads[j]), grads[i])) for i in range(n)) for j in range(n)]
    r = grads[promises.index(max(promises))]
    for _ in range(rounds):
        w = [sigmoid(sharpness * (losses[i] + gain(unit(r), grads[i]))) for i in range(n)]
        r = [sum(wi * g[k] for wi, g in zip(w, grads, strict=True)) / sum(w) for k in range(len(r))]
    return r


def test_two_clusters_are_told_apart_in_closed_form():
    """Three draws near breaking pull one way, seven hopeless ones harder the other: the three win, weights and all."""
    near, far = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 2.0])
    grads = torch.stack([near] * 3 + [far] * 7)[:, None]
    losses = torch.tensor([[-0.2]] * 3 + [[-6.0]] * 7)

    found = shared_direction(grads, losses, LINF, rounds=1, sharpness=5)

    # Along (1, 0), the first cluster's: the losses that a step predicts are -0.2 + 1 and -6 - 1.
    mine, theirs = 3 * sigmoid(5 * 0.8), 7 * sigmoid(5 * -7.0)
    expected = (mine * near + theirs * far) / (mine + theirs)
    assert torch.allclose(found[0], expected, atol=1e-6)
    assert found[0, 0] > 0.99
    assert grads.mean(0)[0, 0] < 0


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_it_agrees_with_an_independent_computation(norm, rounds):
    generator = torch.Generator().manual_seed(rounds)
    grads, losses = torch.randn(6, 4, 5, generator=generator), torch.randn(6, 4, generator=generator)

    found = shared_direction(grads, losses, ThreatModel.parse(f"{norm}:0.3"), rounds=rounds, sharpness=5)

    for row in range(4):
        expected = by_hand(grads[:, row].tolist(), losses[:, row].tolist(), 0.3, norm, rounds, 5)
        assert found[row].tolist() == pytest.approx(expected, abs=1e-5)


def test_without_sharpness_it_is_the_mean_gradient():
    grads = torch.randn(10, 3, 1, 2, 2, generator=torch.Generator().manual_seed(0))

    found = shared_direction(grads, torch.zeros(10, 3), LINF, sharpness=0)

    assert torch.allclose(found, grads.mean(0), atol=1e-6)


def test_draws_far_from_breaking_still_have_a_direction():
    """Weights of exp(-50,000) are zero in float32, and their ratio is not a number; the nearest draws lead."""
    grads = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])

    found = shared_direction(grads, torch.tensor([[-1e4], [-1.1e4]]), LINF)

    assert found[0].tolist() == pytest.approx([1, 0])


def test_an_answer_that_is_not_a_number_spoils_no_other_draw():
    grads = torch.ones(3, 1, 4)
    grads[1] = torch.nan

    found = shared_direction(grads, torch.tensor([[0.0], [torch.nan], [0.0]]), LINF)

    assert found.isfinite().all()
    assert (found > 0).all()


class Dilemma(nn.Module):
    """Of its draws 3 in 10 can be broken by more light in the first pixel; the others never, but pull it down harder.

    Class 0 is right. The margin of the few is a small slope away from zero; that of the many is far below.
    """

    def forward(self, x):
        light = x.flatten(1)[:, 0]
        few = torch.rand(len(x)) < 0.3
        margin = torch.where(few, 4 * (light - 0.6), -6 - 8 * light)
        return torch.stack([torch.zeros_like(margin), margin], 1)


@pytest.mark.parametrize("losses", ["margin", "margin+ce"])
def test_the_gradient_dilemma_is_avoided(launch, losses):
    """EOT's mean gradient darkens the pixel and can break nothing; the shared direction breaks 3 draws in 10."""
    x, y = torch.full((8, 1, 1, 1), 0.5), torch.zeros(8, dtype=torch.int64)

    eot = PGD(eot=20, random_start=False, loss="margin")
    mean, _ = launch(eot, Dilemma(), x, y, "Linf:0.2", stochastic=True)
    ours, _ = launch(DiffHammer(losses=losses, n_restarts=1), Dilemma(), x, y, "Linf:0.2", stochastic=True)

    torch.manual_seed(0)
    wrong = torch.stack([Dilemma()(ours).argmax(1) for _ in range(400)]).float().mean(0)
    assert (mean.flatten() < 0.6).all()
    assert (ours.flatten() > 0.6).all()
    assert ((wrong > 0.2) & (wrong < 0.4)).all()


def test_passes_are_those_of_every_query(launch):
    """Three restarts of 50 steps and a look at the end, ten draws each, where nothing ever breaks."""
    x, y = torch.full((2, 1, 1, 1), 0.5), torch.zeros(2, dtype=torch.int64)

    _, oracle = launch(DiffHammer(), Dilemma(), x, y, "Linf:0.01", stochastic=True)

    assert oracle.forwards.tolist() == oracle.backwards.tolist() == [1530, 1530]


def test_restarts_take_the_losses_in_turn(launch, monkeypatch):
    asked = []
    from bench.attacks.purifiers import diffhammer

    for name in ("margin", "dlr"):
        real = diffhammer.LOSSES[name]
        monkeypatch.setitem(
            diffhammer.LOSSES, name, lambda logits, y, name=name, real=real: asked.append(name) or real(logits, y)
        )
    x, y = torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.int64)

    launch(DiffHammer(steps=1, eot=1, losses="margin+dlr"), Dilemma(), x, y, "Linf:0.01", stochastic=True)

    assert asked == ["margin"] * 2 + ["dlr"] * 2 + ["margin"] * 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"losses": "margin+hinge"}, "unknown loss 'hinge'"),
        ({"rounds": 0}, "DiffHammer: rounds=0 must be at least 1"),
        ({"rho": 1}, "DiffHammer: rho=1 must be between 0 and 1"),
    ],
)
def test_parameters_without_sense_are_refused(parameters, message):
    with pytest.raises(BenchError, match=message):
        DiffHammer(**parameters)


def test_a_family_of_another_kind_is_refused(launch):
    with pytest.raises(BenchError, match="DiffHammer is not defined for L1:1: it attacks Linf, L2"):
        launch(DiffHammer(), Dilemma(), torch.zeros(1, 1, 1, 1), torch.tensor([0]), "L1:1", stochastic=True)
