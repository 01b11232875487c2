"""In L1 the box decides: attacks are held against the exact optimum, pixel after pixel to the edge."""

from fractions import Fraction

import pytest
import torch

from bench.attacks.apgd import APGD, APGDTargeted
from bench.attacks.apgd_l1 import SparseState, radii
from bench.attacks.fgsm import FGSM
from bench.attacks.malt import MALT
from bench.attacks.pgd import PGD
from bench.attacks.square import Square
from bench.geometry import distance, project
from bench.types import ThreatModel

ATTACKS = {
    "fgsm": (FGSM(), 1.0),
    "pgd": (PGD(steps=20), 0.98),
    "pgd-momentum": (PGD(steps=20, momentum=0.75), 0.98),
    "pgd-margin": (PGD(steps=20, loss="margin", random_start=False), 0.98),
    "apgd-ce": (APGD("ce", steps=40), 0.99),
    "apgd-dlr": (APGD("dlr", steps=40), 0.99),
    "apgd-t": (APGDTargeted(steps=40), 0.99),
    "apgd-ce large": (APGD("ce", steps=40, large_reps=True), 0.98),
    "malt": (MALT(steps=40), 0.99),
}


class Tilted(torch.nn.Module):
    """A halfspace whose true class is ahead by as much as one likes."""

    def __init__(self, halfspace, ahead):
        super().__init__()
        self.halfspace, self.ahead = halfspace, ahead

    def forward(self, x):
        return self.halfspace(x) + torch.tensor([self.ahead, 0.0])

    def gain(self, x, x_adv):
        """By how much the second class has caught up, `[B]`."""
        weight = (self.halfspace.weight[1] - self.halfspace.weight[0]).detach()
        return (x_adv - x).flatten(1) @ weight


def most(model, x, eps):
    """What the second class can catch up within the ball and the box: the strongest pixels, one by one."""
    weight = (model.halfspace.weight[1] - model.halfspace.weight[0]).tolist()
    gains = []
    for image in x.flatten(1).tolist():
        left, gain = eps, 0.0
        for slope, value in sorted(zip(weight, image, strict=True), key=lambda pixel: -abs(pixel[0])):
            step = min(left, 1 - value if slope > 0 else value)
            left, gain = left - step, gain + abs(slope) * step
        gains.append(gain)
    return torch.tensor(gains)


@pytest.fixture
def edged(halfspace):
    """A two-class halfspace nobody breaks, and images that touch the box."""
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(3)).mul(1.4).sub(0.2).clamp(0, 1)
    return Tilted(halfspace(), 1000.0), x, torch.zeros(6, dtype=torch.long)


@pytest.mark.parametrize("eps", [0.3, 2, 6])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_best_point_of_ball_and_box_is_reached(launch, edged, name, eps):
    """Where the budget is worth several pixels, most of them end at the edge of the box."""
    (attack, share), (model, x, y) = ATTACKS[name], edged

    x_adv, _ = launch(attack, model, x, y, f"L1:{eps}")

    best = most(model, x, eps)
    gain = model.gain(x, x_adv)
    assert (gain <= best * (1 + 1e-4)).all()
    assert (gain >= best * (share - 1e-3)).all()


def verge(model, x, eps, reach):
    """Put the boundary where `reach` times the optimum of the ball and the box takes one image."""
    start = (model.halfspace(x) @ torch.tensor([1.0, -1.0])).item()
    model.ahead = reach * most(model, x, eps).item() - start


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("reach", [0.96, 1.02], ids=["within-reach", "out-of-reach"])
def test_a_halfspace_is_broken_exactly_when_ball_and_box_reach_it(launch, edged, name, reach):
    """The boundary lies a little nearer than the optimum, or a little farther away."""
    (attack, _), (model, x, y), broken = ATTACKS[name], edged, []
    for image in x[:4].split(1):
        verge(model, image, 4, reach)

        x_adv, _ = launch(attack, model, image, y[:1], "L1:4")

        broken.append(bool(model(x_adv).argmax(1) != 0))
    assert broken == [reach < 1] * 4


@pytest.mark.parametrize(("reach", "queries"), [(0.5, 400), (1.02, 200)], ids=["within-reach", "out-of-reach"])
def test_square_breaks_a_halfspace_in_l1_from_scores_alone(launch, edged, reach, queries):
    """Random search needs some slack, and must never claim more than there is."""
    (model, x, y), broken = edged, []
    for image in x[:2].split(1):
        verge(model, image, 4, reach)

        x_adv, _ = launch(Square(queries=queries), model, image, y[:1], "L1:4", access="score")

        broken.append(bool(model(x_adv).argmax(1) != 0))
    assert broken == [reach < 1] * 2


@pytest.mark.parametrize(
    ("name", "slack"), [("pgd", 0.98), ("pgd", 1.05), ("apgd-ce", 0.98), ("apgd-ce", 1.35), ("apgd-dlr", 1.35)]
)
def test_a_sphere_is_broken_where_its_best_pixels_reach_it(launch, bowl, images, name, slack):
    """Away from gray the sum of squares is convex: the pixels farthest from gray go to the edge, in turn.

    Every choice of pixels is a local optimum, so the sparse random start of Auto-PGD needs some slack;
    with AutoAttack's own steps it would need 1.9.
    """
    x, y, eps = images(4), torch.zeros(1, dtype=torch.long), 1.5
    broken = []
    for image in x:
        left, squares = eps, 0.0
        for away in sorted((image.flatten() - 0.5).abs().tolist(), reverse=True):
            step = min(left, 0.5 - away)
            left, squares = left - step, squares + (away + step) ** 2

        x_adv, _ = launch(ATTACKS[name][0], bowl((squares / slack) ** 0.5), image[None], y, f"L1:{eps}")

        broken.append(bool((x_adv - 0.5).square().sum() > squares / slack))
    assert broken == [slack > 1] * 4


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


@pytest.mark.parametrize("more", [{"steps": 40}, {"n_restarts": 3}], ids=str)
def test_more_steps_and_restarts_only_add(launch, robust_digits, more):
    """The random numbers are those of the smaller run, so everything it breaks is broken again."""
    model, x, y = robust_digits

    little, _ = launch(PGD(steps=8), model, x, y, "L1:3")
    much, _ = launch(PGD(**{"steps": 8, **more}), model, x, y, "L1:3")

    broken, broken_too = (model(x_adv).argmax(1) != y for x_adv in (little, much))
    assert 3 <= broken.sum() < 32
    assert (broken_too | ~broken).all()
    assert broken_too.sum() >= broken.sum()


@pytest.mark.parametrize("family", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-t"])
def test_a_larger_ball_leaves_no_more(launch, robust_digits, name, family):
    """From nearly nothing, which is clean, to everything."""
    model, x, y = robust_digits
    attack = {"pgd": PGD(), "apgd-ce": APGD(steps=20), "apgd-t": APGDTargeted(steps=10, targets=3)}[name]
    usual = {"Linf": Fraction("0.15"), "L2": Fraction(1), "L1": Fraction(4)}[family]

    left = []
    for factor in (Fraction(1, 10**6), Fraction(1, 2), 1, 2, 4):
        threat = ThreatModel(family, max(usual * factor, Fraction(1, 10**6)))
        x_adv, _ = launch(attack, model, x, y, threat)
        left.append(int((model(x_adv).argmax(1) == y).sum()))

    assert left == sorted(left, reverse=True)
    assert left[0] == 32
    assert left[-1] == 0
