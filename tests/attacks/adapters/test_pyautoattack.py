"""What stands between the harness and the pyautoattack distribution."""

import logging
import math
import sys

import pytest
import torch

from bench.attacks.adapters import pyautoattack as adapter
from bench.attacks.adapters.pyautoattack import AutoAttack
from bench.errors import BenchError
from bench.threats import ThreatModel


class Quiet(torch.nn.Module):
    """A model that every check of the library has something to say about: constant probabilities."""

    def forward(self, x):
        return torch.full((len(x), 4), 0.25) + 0 * x.flatten(1).sum(1, keepdim=True)


def test_the_library_says_nothing(launch, images, caplog, capsys):
    """Its warnings have no place in a table; the harness has checks of its own."""
    x = images(2)
    level = logging.getLogger("auto-attack").level

    launch(AutoAttack(eot=1), Quiet(), x, torch.tensor([1, 1]), "Linf:0.1")

    assert caplog.records == []
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("auto-attack").level == level


def test_a_tracer_survives(launch, images):
    """The library's check for dynamic defenses switches tracing off, and coverage with it."""
    x, before = images(1), sys.gettrace()

    def tracer(frame, event, arg):
        return None

    sys.settrace(tracer)
    try:
        launch(AutoAttack(eot=1), Quiet(), x, torch.tensor([1]), "Linf:0.1")
        after = sys.gettrace()
    finally:
        sys.settrace(before)

    assert after is tracer


def test_an_answer_that_is_not_a_number_is_a_success(launch, images):
    """Read as it is, a NaN at the true class is the prediction, and the library calls the point robust."""

    class Hole(torch.nn.Module):
        def forward(self, x):
            bright = x.flatten(1).mean(1)
            true = torch.where(bright > 0.55, torch.nan, 1)
            return torch.stack([true, bright - 1, bright - 2, bright - 3], 1)

    x = images(2)

    x_adv, _ = launch(AutoAttack(), Hole(), x, torch.tensor([0, 0]), "Linf:0.1")

    assert Hole()(x_adv).isnan().any(1).all()


def test_a_point_outside_the_ball_is_a_failure(images):
    """The image comes back in its place; a point beyond it by rounding only is projected."""
    x = images(3)
    threat = ThreatModel.parse("L2:0.5")
    step = torch.zeros_like(x)
    step[:, :, 0, 0] = torch.tensor([0.3, 0.4999, 0.3])[:, None]
    step[1, :, 0, 1] = 0.5
    x_adv = x + step
    x_adv[2] = x[2] + 0.500002 / 8

    kept = adapter._within(x_adv, x, threat)

    assert torch.equal(kept[0], x_adv[0])
    assert torch.equal(kept[1], x[1])
    assert (kept[2] - x[2]).double().norm() <= 0.5
    assert (kept[2] != x[2]).all()


def test_the_seed_depends_on_the_examples_alone(stream):
    """The same examples give the same seed, others another, and no clock has a say."""
    seeds = []
    for streams in (stream(3), stream(3), stream(3, "other"), stream(4)):
        with adapter._library(streams) as (_, seed):
            seeds.append(seed)

    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3


def test_a_tiny_image_is_refused_where_the_library_would_divide_by_zero(launch, halfspace, images):
    """Its L2 Square tiles the image in fifths of its height."""
    with pytest.raises(BenchError, match="at least 5 pixels high, these have 4"):
        launch(AutoAttack(), halfspace(shape=(1, 4, 4)), images(1, (1, 4, 4)), torch.tensor([0]), "L2:0.1")


@pytest.fixture
def threat():
    return ThreatModel.parse("Linf:0.02")


def test_autoattack_runs_its_rand_version(launch, noisy_halfspace, images, threat):
    """On a stochastic defense: APGD with EOT, neither FAB-T nor Square, and 20 draws per gradient."""
    model = noisy_halfspace(noise=1.0)
    x = images(1)
    y = model.halfspace(x).argmax(1)

    x_adv, oracle = launch(AutoAttack(eot=2), model, x, y, ThreatModel.parse("Linf:0.0001"), stochastic=True)

    assert math.isfinite(x_adv.sum())
    # 100 steps and the start, two draws each; with two classes only the cross-entropy is defined.
    assert oracle.backwards.tolist() == [202]
