"""DDN: the sphere it steps along, and what it asks."""

import pytest
import torch

from bench.attacks.minimum_norm.ddn import DDN
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.types import Defense


@pytest.fixture
def walk(stream):
    """Run DDN on a model and return the distances of the points it asked about from the image."""

    def run(attack, model, x, y):
        asked = []
        watched = torch.nn.Sequential(model)
        watched.register_forward_hook(lambda _, inputs, __: asked.append(inputs[0].detach().clone()))
        oracle = Oracle(Defense(watched), len(x))
        _, away = attack.nearest(oracle, x, y, "L2", stream=stream(len(x)))
        return torch.stack([(point - x).flatten(1).norm(dim=1) for point in asked]), away, oracle

    return run


def test_the_radius_shrinks_after_a_success_and_grows_after_a_failure(walk, halfspace, images):
    """By a twentieth each, from one; every point but the image is on the sphere."""
    model, x = halfspace(), images(3)
    y = model(x).argmax(1)

    lengths, away, _ = walk(DDN(steps=80), model, x, y)

    factor = lengths[2:] / lengths[1:-1]
    assert (lengths[0] == 0).all()
    assert torch.allclose(lengths[1], torch.tensor(1.05), rtol=1e-4)
    beyond = lengths[1:-1] > 1.02 * model.distance(x, y, "L2").float()
    short = lengths[1:-1] < 0.98 * model.distance(x, y, "L2").float()
    assert torch.allclose(factor[beyond], torch.tensor(0.95), rtol=1e-3)
    assert torch.allclose(factor[short], torch.tensor(1.05), rtol=1e-3)
    assert beyond.sum() > 100
    assert (away < 1.05 * model.distance(x, y, "L2")).all()


def test_the_radius_ends_at_the_farthest_corner(walk, images):
    """However often a step fails, it grows no farther, and the first success finds its way back from there."""

    class Late(torch.nn.Module):
        asked = 0

        def forward(self, x):
            self.asked += 1
            inside = 1 if self.asked <= 100 else -3
            return torch.stack([inside - 0.001 * x.flatten(1).sum(1), -torch.ones(len(x))], 1)

    x = images(2)

    lengths, away, oracle = walk(DDN(steps=120), Late(), x, torch.tensor([0, 0]))

    corner = torch.maximum(x, 1 - x).flatten(1).norm(dim=1)
    assert (lengths <= corner * (1 + 1e-5)).all()
    assert (lengths[100] > 0.5 * corner).all()
    assert (lengths[-1] < 0.6 * lengths[100]).all()
    assert torch.allclose(away.float(), lengths[-1])
    assert oracle.forwards.tolist() == [121, 121]
    assert oracle.backwards.tolist() == [120, 120]


def test_the_last_point_is_judged(halfspace, images, stream):
    """One step to the sphere of radius 1.05 is one point to ask about."""
    model, x = halfspace(), images(3)
    y = model(x).argmax(1)

    _, away = DDN(steps=1).nearest(Oracle(Defense(model), 3), x, y, "L2", stream=stream(3))

    assert away.tolist() == pytest.approx([1.05] * 3, rel=1e-4)


@pytest.mark.parametrize("options", [{"gamma": 0.0}, {"gamma": 1.0}, {"start": 0.0}, {"steps": 0}])
def test_senseless_parameters_are_refused(options):
    """One line that names the value."""
    ((name, value),) = options.items()

    with pytest.raises(BenchError, match=f"{name}={value}"):
        DDN(**options)


def test_an_unknown_loss_is_refused():
    """With the names there are."""
    with pytest.raises(BenchError, match="unknown loss 'lce': did you mean ce"):
        DDN(loss="lce")
