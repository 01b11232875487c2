"""The low-frequency attack: what it changes, where it stays, and what it asks."""

import pytest
import torch
from torch import nn

from bench.attacks.perceptual.low_frequency import LowFrequency
from bench.errors import BenchError
from bench.oracle.geometry import distance
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense

FEW = {"steps": 8}


@pytest.fixture
def proposed(stream):
    """Run the attack in the perceptual ball of the model itself; returns `x_adv`, faults and the oracle."""

    def run(attack, model, x, y, eps):
        threat = ThreatModel.parse(f"lpips:{eps}")
        oracle = Oracle(Defense(model), len(x), scope=("test",))
        x_adv, proof = attack.propose(oracle, x, y, threat, stream=stream(len(x)))
        return x_adv, attack.violations(x, x_adv, proof, threat), oracle

    return run


@pytest.mark.parametrize("eps", [0.05, 0.4, 2])
def test_it_stays_in_the_perceptual_ball(robust_digits, proposed, eps):
    model, x, y = robust_digits

    x_adv, faults, _ = proposed(LowFrequency(**FEW), model, x, y, eps)

    assert not faults
    assert not torch.equal(x_adv, x)


def test_it_breaks_what_a_purifier_of_high_frequencies_protects(robust_digits, proposed):
    """Most of the digits behind a blur, at the usual bound."""
    model, x, y = robust_digits
    blur = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect", bias=False).requires_grad_(False)
    blur.weight.fill_(1 / 9)
    defended = nn.Sequential(blur, *model).eval()
    right = defended(x).argmax(1) == y
    x, y = x[right], y[right]

    x_adv, faults, _ = proposed(LowFrequency(steps=40), defended, x, y, 0.8)

    assert len(x) > 12
    assert not faults
    assert (defended(x_adv).argmax(1) != y).float().mean() > 0.7


def test_filters_alone_can_only_smooth(robust_digits, launch):
    """With a rate of nearly nothing for the change, they still find their way, and the contrast falls everywhere."""
    model, x, y = robust_digits
    attack = LowFrequency(steps=40, step_size=1e-9, spread=10.0)

    x_adv, _ = launch(attack, model, x, y, "Linf:0.3")

    moved = distance(x_adv, x, "Linf")
    assert (moved > 0.05).float().mean() > 0.9
    assert ((x_adv >= x.amin((2, 3), keepdim=True) - 1e-5) & (x_adv <= x.amax((2, 3), keepdim=True) + 1e-5)).all()
    roughness = [each.diff(dim=3).abs().mean((1, 2, 3)) for each in (x_adv, x)]
    assert (roughness[0] < roughness[1]).float().mean() > 0.9


class _Far(nn.Module):
    """A model whose true class no perturbation changes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x) + torch.tensor([1e3, 0.0])


def test_in_linf_it_reaches_the_corners_of_a_linear_model(halfspace, images, launch):
    """Without filters, every value goes to the edge that raises the margin: the optimum of the ball."""
    model, x = halfspace(shape=(1, 6, 6)), images(4, (1, 6, 6))
    y = torch.zeros(4, dtype=torch.int64)

    x_adv, _ = launch(LowFrequency(steps=60, kernels="1"), _Far(model), x, y, "Linf:0.1")

    slope = (model.weight[1] - model.weight[0]).sign().view(1, 1, 6, 6)
    assert torch.allclose(x_adv, x + 0.1 * slope, atol=1e-5)


def test_rows_do_not_depend_on_how_many_are_filtered_at_once(robust_digits, proposed, monkeypatch):
    model, x, y = robust_digits
    whole, _, _ = proposed(LowFrequency(**FEW), model, x[:6], y[:6], 0.4)

    monkeypatch.setattr("bench.attacks.perceptual.low_frequency._VALUES", 1)
    parts, _, _ = proposed(LowFrequency(**FEW), model, x[:6], y[:6], 0.4)

    assert torch.allclose(whole, parts, atol=1e-5)


def test_larger_filters_than_the_image_are_cut(robust_digits, proposed):
    model, x, y = robust_digits

    _, faults, _ = proposed(LowFrequency(steps=2, kernels="21x5+33"), model, x[:2], y[:2], 0.4)

    assert not faults


@pytest.mark.parametrize("text", ["4", "5+", "3x2", "-3", "five", "5,3"])
def test_sizes_that_are_no_filters_are_named(text):
    with pytest.raises(BenchError, match="odd numbers of pixels"):
        LowFrequency(kernels=text)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"step_size": 0.0}, {"filter_step": -1.0}, {"spread": 0.0}, {"weight": 0.0}]
)
def test_parameters_that_make_no_attack_are_named(wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))):
        LowFrequency(**wrong)


def test_other_families_are_refused(halfspace, images, launch):
    model, x = halfspace(), images(2)

    with pytest.raises(BenchError, match="lpips, Linf"):
        launch(LowFrequency(), model, x, model(x).argmax(1), "L2:1")
