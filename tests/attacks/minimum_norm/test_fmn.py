"""FMN: the ball it steps in, and what it asks."""

import pytest
import torch

from bench.attacks.minimum_norm.fmn import FMN
from bench.errors import BenchError
from bench.oracle.geometry import norm
from bench.oracle.oracle import Oracle
from bench.types import Defense

FAMILIES = ["Linf", "L2", "L1"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_step_goes_to_where_a_linear_boundary_is(halfspace, images, stream, family):
    """The ball around the image touches the hyperplane; the second guess never stops short of it."""
    model, x = halfspace(), images(24)
    y = model(x).argmax(1)
    near = model.distance(x, y, family).argsort()[:6]
    x, y, asked = x[near], y[near], []
    watched = torch.nn.Sequential(model)
    watched.register_forward_hook(lambda _, inputs, __: asked.append(inputs[0].detach().clone()))

    _, away = FMN(steps=8).nearest(Oracle(Defense(watched), 6), x, y, family, stream=stream(6))

    reached = model.distance(x, y, family)
    assert torch.equal(asked[0], x)
    assert torch.allclose(norm(asked[1] - x, family).double(), reached, rtol=1e-3)
    assert away.isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_radius_is_no_larger_than_the_nearest_success(robust_digits, stream, family):
    """After a success the next point is nearer than every misclassified one, by gamma at least as it is then."""
    model, x, y = robust_digits[0], robust_digits[1][:8], robust_digits[2][:8]
    asked = []
    watched = torch.nn.Sequential(model)
    watched.register_forward_hook(lambda _, inputs, __: asked.append(inputs[0].detach().clone()))

    _, away = FMN(steps=30).nearest(Oracle(Defense(watched), 8), x, y, family, stream=stream(8))

    lengths = torch.stack([norm(point - x, family) for point in asked])
    wrong = torch.stack([model(point).argmax(1) != y for point in asked])
    nearest = torch.where(wrong, lengths, torch.inf).cummin(0).values
    assert len(asked) == 31
    assert wrong[1:].any(0).all()
    assert torch.allclose(nearest[-1].double(), away, rtol=1e-4)
    assert (lengths[1:] <= nearest[:-1] * 1.0001)[wrong[:-1]].all()
    assert torch.stack([point.amin() >= 0 for point in asked]).all()
    assert torch.stack([point.amax() <= 1 for point in asked]).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_example_is_found_in_the_end(robust_digits, stream, family):
    """Where the margin flattens on the way, guesses from its slope stop short of the boundary for ever."""
    model, x, y = robust_digits

    _, away = FMN().nearest(Oracle(Defense(model), 32), x, y, family, stream=stream(32))

    assert away.isfinite().all()


def test_the_last_point_is_judged(halfspace, images, stream):
    """In 20 runs of one to 20 steps, the last point is the only success of one at least."""
    model, x = halfspace(), images(4)
    y = model(x).argmax(1)
    alone = 0
    for steps in range(1, 21):
        asked = []
        watched = torch.nn.Sequential(model)
        watched.register_forward_hook(lambda _, inputs, __, asked=asked: asked.append(inputs[0].detach().clone()))

        _, away = FMN(steps=steps).nearest(Oracle(Defense(watched), 4), x, y, "Linf", stream=stream(4))

        wrong = torch.stack([model(point).argmax(1) != y for point in asked])
        assert len(asked) == steps + 1
        assert torch.equal(wrong.any(0), away.isfinite())
        alone += (wrong[-1] & ~wrong[:-1].any(0)).sum().item()

    assert alone >= 1


@pytest.mark.parametrize("options", [{"gamma": 0.0}, {"gamma": 1.0}, {"step_size": 0.0}, {"steps": 0}])
def test_senseless_parameters_are_refused(options):
    """One line that names the value."""
    ((name, value),) = options.items()

    with pytest.raises(BenchError, match=f"{name}={value}"):
        FMN(**options)
