"""One step: where from, how far, and where it ends."""

import pytest
import torch

from bench.attacks.losses import cross_entropy
from bench.attacks.lp.fgsm import FGSM
from bench.attacks.search import direction
from bench.errors import BenchError
from bench.oracle.geometry import fill, project, random_in_ball
from bench.threats import ThreatModel


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_step_has_its_length_in_units_of_eps(launch, halfspace, images, share):
    """To a corner of the cube of that size, along the sign of the gradient."""
    model, x = halfspace(), images(4)
    y = model(x).argmax(1)
    at = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(model(at), y).sum(), at)

    x_adv, _ = launch(FGSM(step_size=share), model, x, y, "Linf:0.002")

    assert torch.allclose(x_adv, x + share * 0.002 * grad.sign(), atol=1e-7)


@pytest.mark.parametrize("family", ["Linf", "L2", "L1"])
def test_a_random_start_is_where_the_step_begins(launch, halfspace, images, stream, family):
    """The gradient of a linear model is the same everywhere: the end is the start plus the step, projected."""
    asked, model, x = [], halfspace(), images(4)
    y = model(x).argmax(1)

    class Watched(torch.nn.Module):
        def forward(self, x):
            asked.append(x.detach().clone())
            return model(x)

    threat = ThreatModel.parse(f"{family}:0.01")
    x_adv, _ = launch(FGSM(random_start=True, step_size=1.25), Watched(), x, y, threat)

    start = random_in_ball(x, stream(4).at("start", 0).uniform(1, 8, 8), threat)
    assert torch.equal(asked[0], start)
    assert (start != x).flatten(1).any(1).all()
    at = start.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(model(at), y).sum(), at)
    length = 1.25 * float(threat.eps)
    step = fill(grad, start, length) if family == "L1" else length * direction(grad, family)
    assert torch.allclose(x_adv, project(start + step, x, threat), atol=1e-7)


def test_in_l1_the_step_fills_the_box_pixel_by_pixel(launch, halfspace):
    """Not the one strongest pixel, which is soon at the edge, but as many as the budget takes there."""
    model = halfspace()
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    at = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cross_entropy(model(at), y).sum(), at)

    x_adv, _ = launch(FGSM(), model, x, y, "L1:3")

    assert torch.allclose(x_adv, x + fill(grad, x, 3.0), atol=1e-4)
    assert ((x_adv - x).abs() > 1e-3).flatten(1).sum(1).min() >= 3


@pytest.mark.parametrize("step_size", [0.0, -1.0])
def test_a_step_must_go_somewhere(step_size):
    """The value and its unit in one line."""
    with pytest.raises(BenchError, match=f"FGSM: step_size={step_size} must be positive: it is in units of eps"):
        FGSM(step_size=step_size)
