"""In L1 the box decides: attacks are held against the exact optimum, pixel after pixel to the edge."""

import pytest
import torch

from bench.attacks.lp.apgd import APGD
from bench.attacks.lp.apgd_l1 import SparseState, radii
from bench.oracle.geometry import distance, project
from bench.threats import ThreatModel
from tests.attacks.lp.edged import Tilted, most


@pytest.fixture
def edged(halfspace):
    """A two-class halfspace nobody breaks, and images that touch the box."""
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(3)).mul(1.4).sub(0.2).clamp(0, 1)
    return Tilted(halfspace(), 1000.0), x, torch.zeros(6, dtype=torch.long)


def sparse_state(changed_now, changed_before, length=1.0):
    """One example of 20 pixels whose best point differs from it at `changed_now`."""
    x = torch.full((1, 1, 4, 5), 0.5)
    found = SparseState.at(torch.tensor([0]), x, torch.tensor([0]), torch.tensor([0]), x, 1.0)
    found.x_best = x.clone()
    found.x_best.view(-1)[:changed_now] = 0.9
    found.grad_best = torch.ones_like(x)
    found.changed, found.length = torch.tensor([changed_before]), torch.tensor([length])
    return found


def test_a_run_starts_along_a_fifth_of_the_pixels_with_steps_of_eps():
    """The published start; a resumed one takes the number from the point it starts at."""
    x = torch.full((1, 1, 4, 5), 0.5)
    start = x.clone()
    start.view(-1)[:9] = 0.6
    rows = torch.tensor([0])

    fresh, resumed = (SparseState.at(rows, x, rows, rows, start, 1.5, resumed=again) for again in (False, True))

    assert (fresh.count.item(), fresh.changed.item(), fresh.length.item()) == (4, 20, 1.5)
    assert (resumed.count.item(), resumed.changed.item()) == (6, 9)


@pytest.mark.parametrize(
    ("now", "before", "length", "after", "returns"),
    [
        (12, 20, 0.3, 1.0, True),  # sparser: back to the best point, with the longest step
        (19, 20, 0.3, 0.2, False),  # 95 % is not sparser
        (20, 20, 0.9, 0.6, False),
        (20, 20, 0.12, 0.1, False),  # the shortest step is a tenth of eps
    ],
)
def test_sparsity_and_step_adapt_at_a_checkpoint(now, before, length, after, returns):
    """AutoAttack's constants: 0.95, 1.5 and 10; a step moves two thirds of the pixels changed so far."""
    example = sparse_state(now, before, length)

    example.check(ThreatModel.parse("L1:1"))

    assert example.length.item() == pytest.approx(after)
    assert example.count.item() == int(now / 1.5)
    assert example.changed.item() == now
    assert torch.equal(example.x_adv, example.x_best) is returns
    assert (example.grad.sum() != 0).item() is returns


@pytest.mark.parametrize(("steps", "every"), [(100, 4), (40, 1), (10, 1)])
def test_checkpoints_come_every_25th_of_the_run(steps, every, monkeypatch):
    """And none before the first step."""
    seen = []
    monkeypatch.setattr(SparseState, "check", lambda self, threat: seen.append(threat))
    example, threat, due = sparse_state(5, 5), ThreatModel.parse("L1:1"), []

    for step in range(steps):
        before = len(seen)
        example.review(step, steps, 0.75, threat)
        due += [step] * (len(seen) - before)

    assert due == list(range(every, steps, every))


def test_larger_balls_come_first():
    """AutoAttack's schedule: 3 eps and 2 eps for 30 % of the steps each, rounded up; never more than there are."""
    threat = ThreatModel.parse("L1:12")

    plans = {steps: [(float(ball.eps), some) for ball, some in radii(threat, steps)] for steps in (100, 25, 1)}

    assert plans[100] == [(36, 30), (24, 30), (12, 40)]
    assert plans[25] == [(36, 8), (24, 8), (12, 9)]
    assert plans[1] == [(36, 1), (24, 0), (12, 0)]


def test_a_point_outside_the_ball_breaks_nothing(launch, edged):
    """A ball of 2 eps reaches the boundary and that of eps does not: robust, asked to the end, and inside."""
    model, x, y = edged
    x, y, eps = x[:1], y[:1], 2
    start = (model.halfspace(x) @ torch.tensor([1.0, -1.0])).item()
    model.ahead = (most(model, x, eps) + most(model, x, 2 * eps)).item() / 2 - start

    x_adv, oracle = launch(APGD(steps=40, large_reps=True, n_restarts=2), model, x, y, f"L1:{eps}")
    wide, _ = launch(APGD(steps=40), model, x, y, f"L1:{2 * eps}")

    assert (model(wide).argmax(1) == 1).all()
    assert not oracle.broken.any()
    assert oracle.backwards.tolist() == [2 * 43]
    assert distance(x_adv, x, "L1").max().item() <= eps
    assert (model(x_adv).argmax(1) == 0).all()


def test_each_ball_is_entered_at_the_best_point_of_the_larger_one(launch, edged, monkeypatch):
    """Projected, and with as many pixels moving as that point tells."""
    asked, (model, x, y) = [], edged
    x, y = x[:1], y[:1]
    build, resumed = SparseState.at, []
    monkeypatch.setattr(SparseState, "at", lambda *args, **how: resumed.append(how["resumed"]) or build(*args, **how))

    class Watched(torch.nn.Module):
        def forward(self, x):
            asked.append(x.detach().clone())
            return model(x)

    launch(APGD(steps=10, large_reps=True), Watched(), x, y, "L1:2")

    assert len(asked) == 13  # 1 + 3, 1 + 3 and 1 + 4
    for first, last, text in ((0, 4, "L1:4"), (4, 8, "L1:2")):
        best = max(asked[first:last], key=lambda point: model.gain(x, point).item())
        assert torch.equal(asked[last], project(best, x, ThreatModel.parse(text)))
    assert resumed == [True] * 3


def test_larger_balls_find_better_starts(launch, robust_digits):
    """With large_reps what is found is found inside the ball, and no less of it."""
    model, x, y = robust_digits

    plain, large = (launch(APGD(steps=30, large_reps=reps), model, x, y, "L1:3")[0] for reps in (False, True))

    broken = [int((model(x_adv).argmax(1) != y).sum()) for x_adv in (plain, large)]
    assert 5 <= broken[0] < 32
    assert broken[1] >= broken[0] - 1
    assert distance(large, x, "L1").max().item() <= 3
