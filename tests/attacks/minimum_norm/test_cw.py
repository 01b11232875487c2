"""Carlini and Wagner: the search for the weight, and what it asks."""

import pytest
import torch

import bench.attacks.minimum_norm.cw as module
from bench.attacks.minimum_norm.cw import CW
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.types import Defense


@pytest.fixture
def nearest(stream):
    """Ask for distances."""

    def run(attack, model, x, y):
        oracle = Oracle(Defense(model), len(x))
        _, away = attack.nearest(oracle, x, y, "L2", stream=stream(len(x)))
        return away, oracle

    return run


def test_the_weight_that_just_suffices_comes_nearest(nearest, halfspace, images):
    """Too small a weight finds nothing, too large a one overshoots; searching from either comes near."""
    model, x = halfspace(), images(3)
    y = model(x).argmax(1)
    options = {"steps": 60, "step_size": 0.02}

    none, _ = nearest(CW(searches=1, weight=1e-4, **options), model, x, y)
    large, _ = nearest(CW(searches=1, weight=10.0, **options), model, x, y)
    rising, _ = nearest(CW(searches=6, weight=1e-3, **options), model, x, y)
    falling, _ = nearest(CW(searches=6, weight=10.0, **options), model, x, y)

    assert none.isinf().all()
    for away in (rising, falling):
        assert (away < 1.2 * model.distance(x, y, "L2")).all()
        assert (away <= large).all()
    assert (falling < 0.9 * large).any()


def test_a_descent_that_has_come_to_rest_is_given_up(nearest, halfspace, images, monkeypatch):
    """It costs the questions it needs, of those it may ask; and what is found hardly changes."""
    model, x = halfspace(), images(3)
    y = model(x).argmax(1)
    attack = CW(steps=100, searches=4, step_size=0.01, weight=0.1)

    early, spared = nearest(attack, model, x, y)
    monkeypatch.setattr(module, "_PATIENCE", 1000)
    late, full = nearest(attack, model, x, y)

    assert full.forwards.tolist() == full.backwards.tolist() == [400] * 3
    assert spared.forwards.sum() < 1100
    assert torch.equal(spared.forwards, spared.backwards)
    assert (early <= 1.01 * late).all()


def test_no_descent_is_given_up_while_adam_warms_up(nearest, halfspace, images):
    """Its first steps raise the objective of every example: 20 of them prove nothing."""
    model, x = halfspace(), images(3)
    y = model(x).argmax(1)

    _, oracle = nearest(CW(steps=20, searches=2, weight=1e-3), model, x, y)

    assert oracle.forwards.tolist() == [40] * 3


def test_the_last_point_of_a_descent_is_judged(nearest, halfspace, images):
    """With two steps there is one point besides the image."""
    model, x = halfspace(), images(3)
    y = model(x).argmax(1)

    away, oracle = nearest(CW(steps=2, searches=1, step_size=3.0, weight=10.0), model, x, y)

    assert away.isfinite().all()
    assert oracle.forwards.tolist() == [2] * 3


@pytest.mark.parametrize("options", [{"step_size": 0.0}, {"weight": 0.0}, {"steps": 0}, {"searches": 0}])
def test_senseless_parameters_are_refused(options):
    """One line that names the value."""
    ((name, value),) = options.items()

    with pytest.raises(BenchError, match=f"{name}={value}"):
        CW(**options)
