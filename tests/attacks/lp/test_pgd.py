"""PGD climbs the loss it is told to."""

import pytest
import torch

from bench.attacks.losses import LOSSES
from bench.attacks.lp.apgd import APGD
from bench.attacks.lp.pgd import PGD
from bench.catalogue import ATTACKS
from bench.catalogue.registry import load
from bench.errors import BenchError


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "pm", "mean"])
def test_a_step_follows_the_gradient_of_the_named_loss(launch, halfspace, images, loss):
    """From the image, with one step of the whole radius: the corner the gradient points at, no other."""
    model, x = halfspace(classes=5, scale=2), images(8)
    y = model(x).argmax(1)
    corners = {}
    for name, of in LOSSES.items():
        at = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(of(model(at), y).sum(), at)
        corners[name] = x + 0.001 * grad.sign()

    x_adv, _ = launch(PGD(steps=1, step_size=1, random_start=False, loss=loss), model, x, y, "Linf:0.001")

    others = [corner for name, corner in corners.items() if name != loss]
    assert torch.allclose(x_adv, corners[loss], atol=1e-6)
    assert all((x_adv - other).abs().max() > 1e-3 for other in others)


@pytest.mark.parametrize("attack", [PGD, APGD])
def test_an_unknown_loss_is_refused_with_those_there_are(attack):
    """One line that names the value and what may stand in its place."""
    with pytest.raises(BenchError, match="unknown loss 'hinge': known are ce, dlr, margin, mean, pm"):
        attack(loss="hinge")


def test_the_preset_of_lee_and_kim_has_their_parameters():
    """attacks.md 3.9: 200 steps of 0.007 at eps 8/255, EOT 20, from the image itself."""
    entry = ATTACKS.get("pgd-eot-200")

    attack = load(entry.target)(**entry.config)

    assert (attack.steps, attack.eot, attack.n_restarts, attack.momentum) == (200, 20, 1, 0)
    assert attack.random_start is False
    assert attack.step_size * 8 / 255 == pytest.approx(0.007)


def test_an_unknown_schedule_is_refused_with_those_there_are():
    with pytest.raises(BenchError, match="unknown schedule 'stairs': known are constant, cosine"):
        PGD(schedule="stairs")


def test_steps_fall_along_half_a_cosine(launch, halfspace, images):
    """On a linear model no step changes direction, so the way is the sum of the lengths, in closed form.

    Of four steps of 0.1 eps the lengths are 0.1 times 1, 0.8536, 0.5 and 0.1464: 0.25 eps, and 0.4 without a schedule.
    """
    model, x = halfspace(), images(4)
    y = model(x).argmax(1)

    ways = {}
    for schedule in ("constant", "cosine"):
        attack = PGD(steps=4, step_size=0.1, random_start=False, schedule=schedule)
        x_adv, _ = launch(attack, model, x, y, "Linf:0.01")
        ways[schedule] = (x_adv - x).abs().amax((1, 2, 3)) / 0.01

    assert torch.allclose(ways["constant"], torch.tensor(0.4), atol=1e-4)
    assert torch.allclose(ways["cosine"], torch.tensor(0.25), atol=1e-4)
