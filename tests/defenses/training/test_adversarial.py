"""Examples crafted for training: in their bound, and worse than where they began."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.attacks.unforeseen.recolor import ReColor
from bench.attacks.unforeseen.stadv import StAdv
from bench.defenses.networks.resnet import ResNet
from bench.defenses.training.adversarial import RENDERED, craft
from bench.oracle.geometry import distance
from bench.threats import ThreatModel
from tests.defenses.training.small import LINF, batch, pipeline


@pytest.mark.parametrize("threat", ["Linf:0.2", "L2:1"])
def test_crafted_examples_stay_in_the_ball_and_raise_the_loss(threat):
    """What is trained on is within the threat model and worse than noise of the same size."""
    threat = ThreatModel.parse(threat)
    model = pipeline("none").eval()
    x, y = batch("train", 128)

    def loss(steps):
        torch.manual_seed(0)
        x_adv = craft(model, x, y, threat, steps=steps, step_size=0.5)
        assert distance(x_adv, x, threat.family).max() <= float(threat.eps) + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        return F.cross_entropy(model(x_adv), y).item()

    start, one, many = loss(0), loss(1), loss(7)

    assert start < one < many
    assert many > 3 * start


@pytest.mark.parametrize(("family", "kind"), [("stadv", StAdv), ("recolor", ReColor)])
def test_examples_crafted_outside_the_balls_keep_their_bound_and_raise_the_loss(family, kind, monkeypatch):
    """Every point of the search is one an evaluation would admit, and the last is worse than the first."""
    torch.manual_seed(0)
    model = ResNet(3, 10, 8).eval()
    x, y = torch.rand(32, 3, 16, 16), torch.randint(10, (32,))
    threat = ThreatModel.parse(f"{family}:0.1")
    sizes = []

    class Watched(kind):
        def render(self, x, latent, scene):
            sizes.append(self.size(latent).max().item())
            return super().render(x, latent, scene)

    monkeypatch.setitem(RENDERED, family, Watched)

    def loss(steps):
        torch.manual_seed(1)
        return F.cross_entropy(model(craft(model, x, y, threat, steps=steps, step_size=0.3)), y).item()

    start, one, many = loss(0), loss(1), loss(7)

    assert start < one < many
    assert len(sizes) == 11
    assert max(sizes) == pytest.approx(0.1, abs=1e-6)


def test_a_single_step_without_random_start_is_fgsm():
    """Each pixel moves by eps along the sign of its gradient, or to the edge of the box."""
    model = pipeline("none").eval()
    x, y = batch("train", 16)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)

    x_adv = craft(model, x.detach(), y, LINF, steps=1, step_size=1.0, random_start=False)

    assert torch.allclose(x_adv, (x.detach() + 0.2 * grad.sign()).clamp(0, 1), atol=1e-6)


def test_an_objective_of_its_own_is_what_is_raised():
    """TRADES raises the divergence from the clean answers, not the cross-entropy of the labels."""
    model = pipeline("none").eval()
    x, y = batch("train", 64)
    with torch.no_grad():
        answers = F.softmax(model(x), dim=1)

    def divergence(logits):
        return F.kl_div(F.log_softmax(logits, dim=1), answers, reduction="sum")

    torch.manual_seed(0)
    x_adv = craft(model, x, 9 - y, LINF, steps=5, step_size=0.5, objective=divergence)
    torch.manual_seed(0)
    misled = craft(model, x, 9 - y, LINF, steps=5, step_size=0.5)

    with torch.no_grad():
        assert divergence(model(x_adv)) > 5 * divergence(model(misled)) > 0


def test_crafting_leaves_parameter_gradients_alone():
    """Weights that are being trained collect no gradient from the search for examples."""
    model = pipeline("none").requires_grad_(True)

    craft(model, *batch("train", 8), LINF, steps=2, step_size=0.5)

    assert all(parameter.grad is None for parameter in model.parameters())
