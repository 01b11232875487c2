"""On models whose boundary distance is known, an attack succeeds exactly when the ball reaches it."""

from fractions import Fraction

import pytest
import torch

from bench.attacks.adapters.pyautoattack import AutoAttack
from bench.attacks.lp.apgd import APGD, APGDTargeted
from bench.attacks.lp.fgsm import FGSM
from bench.attacks.lp.pgd import PGD
from bench.attacks.lp.square import Square
from bench.attacks.minimum_norm.fab import FABTargeted
from bench.oracle.geometry import distance
from bench.threats import ThreatModel

ATTACKS = {
    "fgsm": FGSM(),
    "pgd": PGD(steps=20),
    "pgd-momentum": PGD(steps=20, momentum=0.75),
    "pgd-margin": PGD(steps=20, momentum=0.75, loss="margin"),
    "pgd-dlr": PGD(steps=20, loss="dlr"),
    "pgd-from-the-image": PGD(steps=20, random_start=False),
    "apgd-ce": APGD("ce", steps=20),
    "apgd-dlr": APGD("dlr", steps=20),
    "apgd-t": APGDTargeted(steps=20),
    "fab-t": FABTargeted(steps=20),
}
FAMILIES = ["Linf", "L2"]


def robust(launch, attack, model, x, y, family, factor, reach):
    """Which examples stay right when eps is `factor` times the distance `reach` of each."""
    left = []
    for index in range(len(x)):
        threat = ThreatModel(family, Fraction(factor * reach[index].item()).limit_denominator(10**9))
        one, label = x[index : index + 1], y[index : index + 1]
        x_adv, _ = launch(attack, model, one, label, threat, rows=[index])
        assert distance(x_adv, one, family).item() <= float(threat.eps) * (1 + 1e-5)
        left.append(model(x_adv).argmax(1).item() == label.item())
    return left


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("factor", [0.95, 1.05], ids=["ball-inside", "ball-crosses"])
@pytest.mark.parametrize("name", ATTACKS)
def test_a_halfspace_is_broken_exactly_when_the_ball_crosses_it(launch, halfspace, images, name, factor, family):
    """Linear models have one nearest boundary point; no attack may miss it or claim more."""
    model = halfspace()
    x = images(4)
    y = model(x).argmax(1)

    left = robust(launch, ATTACKS[name], model, x, y, family, factor, model.distance(x, y, family))

    assert left == [factor < 1] * 4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("factor", [0.95, 1.05], ids=["ball-inside", "ball-crosses"])
@pytest.mark.parametrize("name", ["apgd-t", "fab-t"])
def test_targeted_attacks_find_the_nearest_of_many_classes(launch, halfspace, images, name, factor, family):
    """Nine targets of ten classes: the nearest boundary is tried, wherever it ranks by logit."""
    model = halfspace(classes=10)
    x = images(1)
    y = model(x).argmax(1)

    left = robust(launch, ATTACKS[name], model, x, y, family, factor, model.distance(x, y, family))

    assert left == [factor < 1]


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t"])
@pytest.mark.parametrize("factor", [0.95, 1.05], ids=["ball-inside", "ball-crosses"])
def test_the_l1_ball_is_attacked_along_its_strongest_pixel(launch, halfspace, images, name, factor):
    """In L1 all of the budget belongs in the pixel with the largest weight."""
    model = halfspace(scale=40)
    x = images(16)
    y = model(x).argmax(1)
    reach = model.distance(x, y, "L1")
    near = reach.argsort()[:4]  # near enough that the budget of one pixel stays inside the box
    assert reach[near].max() < 0.38

    left = robust(launch, ATTACKS[name], model, x[near], y[near], "L1", factor, reach[near])

    assert left == [factor < 1] * 4


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t"])
@pytest.mark.parametrize("factor", [0.95, 1.05], ids=["ball-inside", "ball-crosses"])
def test_a_sphere_is_broken_exactly_when_the_ball_crosses_it(launch, bowl, images, name, factor):
    """The boundary is curved and the gradient changes along the way; L2 distance is exact."""
    model = bowl(radius=0.8)
    x = images(4)
    y = model(x).argmax(1)
    assert y.tolist() == [0] * 4

    left = robust(launch, ATTACKS[name], model, x, y, "L2", factor, model.distance(x))

    assert left == [factor < 1] * 4


@pytest.mark.parametrize(
    ("family", "factor", "broken"), [("Linf", 0.95, 0), ("Linf", 1.2, 2), ("L2", 0.95, 0), ("L2", 1.5, 2)]
)
def test_square_breaks_a_halfspace_from_scores_alone(launch, halfspace, images, family, factor, broken):
    """Random search needs some slack beyond the distance, and must never claim more than there is."""
    model = halfspace(shape=(1, 6, 6))
    x = images(2, (1, 6, 6))
    y = model(x).argmax(1)

    left = robust(launch, Square(queries=400), model, x, y, family, factor, model.distance(x, y, family))

    assert left.count(False) == broken


@pytest.mark.parametrize("name", ["pgd", "apgd-ce", "apgd-dlr", "apgd-t"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saturated_model_is_broken_all_the_same(launch, halfspace, images, name, family):
    """Logits times 10,000 make the textbook cross-entropy exactly flat; that is no defense."""
    model = halfspace(scale=10_000)
    x = images(4)
    y = model(x).argmax(1)

    left = robust(launch, ATTACKS[name], model, x, y, family, 1.05, model.distance(x, y, family))

    assert left == [False] * 4


def test_only_score_based_search_gets_through_a_masked_gradient(launch, halfspace, masked, images):
    """Rounding the input gives zero gradients: PGD stays where it started, Square does not care."""
    model = halfspace()
    x = images(8)
    y = model(x).argmax(1)
    eps = 1.6 * model.distance(x, y, "Linf").max().item()
    threat = ThreatModel("Linf", Fraction(eps).limit_denominator(10**6))
    hidden = masked(model)
    y = hidden(x).argmax(1)

    by_gradient, _ = launch(PGD(random_start=False), hidden, x, y, threat)
    by_score, _ = launch(Square(queries=800), hidden, x, y, threat, access="score")

    assert torch.equal(by_gradient, x)
    assert (hidden(by_score).argmax(1) != y).all()


def test_fgsm_leaves_a_broken_image_where_it_is(launch, halfspace, images):
    """Its only query shows the image misclassified: a step could only mend it."""
    model = halfspace()
    x = images(4)
    y = model(x).argmax(1)
    y[:2] = 1 - y[:2]

    x_adv, _ = launch(FGSM(), model, x, y, "Linf:0.1")

    assert torch.equal(x_adv[:2], x[:2])
    assert (x_adv[2:] != x[2:]).all()


@pytest.mark.slow
def test_autoattack_leaves_no_reachable_boundary(launch, halfspace, images):
    """All four parts run on the example that is out of reach, and the one within reach is broken."""
    model = halfspace(shape=(1, 6, 6), classes=4)
    x = images(2, (1, 6, 6))
    y = model(x).argmax(1)
    reach = model.distance(x, y, "L2")
    eps = (reach.min() * reach.max()).sqrt().item()
    assert 1.02 * reach.min() < eps < 0.98 * reach.max()

    x_adv, _ = launch(AutoAttack(), model, x, y, ThreatModel("L2", Fraction(eps).limit_denominator(10**6)))

    assert (model(x_adv).argmax(1) != y).tolist() == (reach < eps).tolist()
