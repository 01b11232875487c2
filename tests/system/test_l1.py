"""In L1 the box decides: every attack is held against the exact optimum, pixel after pixel to the edge."""

from fractions import Fraction

import pytest
import torch

from bench.attacks.lp.apgd import APGD, APGDTargeted
from bench.attacks.lp.fgsm import FGSM
from bench.attacks.lp.malt import MALT
from bench.attacks.lp.pgd import PGD
from bench.attacks.lp.square import Square
from bench.threats import ThreatModel
from tests.attacks.lp.edged import Tilted, most

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
