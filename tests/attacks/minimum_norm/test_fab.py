"""FAB: its projections against general solvers, what it asks and what that costs."""

import pytest
import torch

import bench.attacks.minimum_norm.fab as module
from bench.attacks.minimum_norm.fab import FAB, FABTargeted
from bench.errors import BenchError
from bench.oracle.geometry import distance
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense
from tests.attacks.minimum_norm.solver import SIZE, solve

FAMILIES = ["Linf", "L2", "L1"]


@pytest.mark.parametrize("attack", [FAB(steps=20), FABTargeted(steps=20)], ids=["fab", "fab-t"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_boundary_at_the_edge_of_the_box_is_found_where_a_solver_finds_it(halfspace, stream, attack, family):
    """Images with pixels at 0 and 1: the nearest point of the halfspace is not along its normal."""
    model = halfspace(shape=(1, 1, SIZE), scale=3)
    x = torch.rand(12, 1, 1, SIZE, generator=torch.Generator().manual_seed(3)).mul(2).sub(0.5).clamp(0, 1)
    y = model(x).argmax(1)
    weight = (model.weight[1] - model.weight[0]).detach().double().numpy()
    solved = []
    for image in x:
        flat = image.flatten().double().numpy()
        solved.append(solve(flat, float(weight @ (flat - 0.5)), weight, family))
    there = [i for i, length in enumerate(solved) if length is not None]
    free = model.distance(x, y, family)
    bound = sum(solved[i] > 1.05 * free[i].item() for i in there)

    x_adv, away = attack.nearest(Oracle(Defense(model), 12), x, y, family, stream=stream(12))

    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert len(there) >= 6
    assert bound >= 2
    ratio = torch.stack([away[i] / solved[i] for i in there])
    assert ratio.min() > 0.999
    assert ratio.max() < 1.05


def test_all_nine_targets_are_aimed_at(launch, halfspace, images):
    """10 steps for each of nine classes where there are ten, for each of three where there are four."""
    x = images(1)
    costs = []
    for classes in (10, 4):
        model = halfspace(classes=classes)
        _, oracle = launch(FABTargeted(steps=10), model, x, model(x).argmax(1), "Linf:0.000001")
        costs.append((oracle.forwards.item(), oracle.backwards.item()))

    assert costs == [(1 + 9 * 20 + 3, 90), (1 + 3 * 20 + 3, 30)]


def test_a_broken_example_takes_no_further_targets(launch, halfspace, images):
    """A point inside the ball ends the search of its example, and of no other."""
    model, x = halfspace(classes=10), images(6)
    y = model(x).argmax(1)
    reached = model.distance(x, y, "L2")
    eps = reached.sort().values[2:4].mean().item()

    x_adv, oracle = launch(FABTargeted(steps=5), model, x, y, f"L2:{eps:.6f}")

    broken = model(x_adv).argmax(1) != y
    assert broken.tolist() == (reached < eps).tolist()
    assert (oracle.backwards[~broken] == 45).all()
    assert (oracle.backwards[broken] < 45).all()


def test_the_untargeted_attack_goes_to_the_nearest_of_the_boundaries_in_sight(stream):
    """The likeliest class may be the farther one: its logit is large, and its slope is gentle."""

    class Slopes(torch.nn.Module):
        def forward(self, x):
            gentle, steep = (x - 0.5)[:, 0, 0].unbind(1)
            return torch.stack([0 * gentle, 0.1 * gentle - 0.03, 10 * steep - 1], 1)

    x, y = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])

    found = [
        FAB(steps=8, targets=targets).nearest(Oracle(Defense(Slopes()), 1), x, y, "L2", stream=stream(1))[1].item()
        for targets in (1, 2)
    ]

    assert found == pytest.approx([0.3, 0.1], rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_restart_starts_elsewhere_and_finds_no_less(robust_digits, stream, monkeypatch, family):
    """Within half the distance known, from the numbers of the example alone."""
    monkeypatch.setattr(module, "_FINAL_SEARCH", 0)
    model, x, y = robust_digits[0], robust_digits[1][:8], robust_digits[2][:8]
    asked = []
    watched = torch.nn.Sequential(model)
    watched.register_forward_hook(lambda _, inputs, __: asked.append(inputs[0].detach().clone()))

    _, once = FAB(steps=2, targets=2).nearest(Oracle(Defense(model), 8), x, y, family, stream=stream(8))
    _, twice = FAB(steps=2, targets=2, n_restarts=2).nearest(
        Oracle(Defense(watched), 8), x, y, family, stream=stream(8)
    )

    start = asked[1 + 2 * 2]
    assert (twice <= once).all()
    away = distance(start, x, family)
    limit = once.clamp_max({"Linf": 0.3, "L2": 1.0, "L1": 5.0}[family])
    assert (away > 0.2 * limit).all()
    assert (away <= limit / 2 * (1 + 1e-5)).all()


def test_the_final_search_comes_nearer(robust_digits, stream, monkeypatch):
    """Three questions on the way to the image, where two steps leave a gap to the boundary."""
    model, x, y = robust_digits[0], robust_digits[1][:16], robust_digits[2][:16]
    attack = FABTargeted(steps=3, targets=1)

    _, near = attack.nearest(Oracle(Defense(model), 16), x, y, "L2", stream=stream(16))
    monkeypatch.setattr(module, "_FINAL_SEARCH", 0)
    _, far = attack.nearest(Oracle(Defense(model), 16), x, y, "L2", stream=stream(16))

    assert (near <= far).all()
    assert (near < 0.995 * far).sum() >= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 0}, "steps=0"), ({"eta": 0.9}, "eta=0.9"), ({"beta": 1.5}, "beta=1.5"), ({"alpha_max": -1}, "-1")],
)
def test_senseless_parameters_are_refused(options, message):
    """One line that names the value."""
    with pytest.raises(BenchError, match=message):
        FABTargeted(**options)


@pytest.fixture
def threat():
    return ThreatModel.parse("Linf:0.02")


def test_fab_refuses_a_stochastic_defense(launch, noisy_halfspace, images, threat):
    """Its steps assume that one image has one prediction; the remedy is named."""
    model = noisy_halfspace()
    x = images(1)

    with pytest.raises(BenchError, match="use apgd-ce"):
        launch(FABTargeted(), model, x, torch.tensor([0]), threat, stochastic=True)
