"""What every minimum-norm attack owes: distances known in closed form, and those its peers find."""

import os

import pytest
import torch

from bench.attacks.minimum_norm.base import Nearest
from bench.attacks.minimum_norm.cw import CW
from bench.attacks.minimum_norm.ddn import DDN
from bench.attacks.minimum_norm.fab import FAB, FABTargeted
from bench.attacks.minimum_norm.fmn import FMN
from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import load
from bench.errors import BenchError
from bench.oracle.geometry import distance
from bench.oracle.oracle import Oracle
from bench.types import Defense

EVERY = ["Linf", "L2", "L1"]
ATTACKS = {
    "fab": (FAB(steps=20), EVERY),
    "fab-t": (FABTargeted(steps=20), EVERY),
    "fmn": (FMN(steps=60), EVERY),
    "ddn": (DDN(loss="margin"), ["L2"]),
    "cw-l2": (CW(steps=60, searches=5, weight=0.1, step_size=0.02), ["L2"]),
}
CASES = [(attack, family) for attack, families in ATTACKS.values() for family in families]
NAMES = [f"{name} {family}" for name, (_, families) in ATTACKS.items() for family in families]
ONE_EACH = [attack for attack, _ in ATTACKS.values()]
with_cifar = pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")


def for_every_case(test):
    return pytest.mark.parametrize(("attack", "family"), CASES, ids=NAMES)(test)


def for_every_attack(test):
    return pytest.mark.parametrize("attack", ONE_EACH, ids=ATTACKS)(test)


@pytest.fixture
def nearest(stream):
    """Ask an attack for distances."""

    def run(attack, model, x, y, family):
        oracle = Oracle(Defense(model), len(x), scope=("test",))
        x_adv, away = attack.nearest(oracle, x, y, family, stream=stream(len(x)))
        return x_adv, away, oracle

    return run


@for_every_case
@pytest.mark.parametrize("classes", [2, 10])
def test_the_distance_to_a_halfspace_is_found_within_a_twentieth(nearest, halfspace, images, attack, family, classes):
    """Never less than the distance, and hardly more; what is returned is as far away as is said."""
    model, x = halfspace(classes=classes), images(24)
    y = model(x).argmax(1)
    reached = model.distance(x, y, family)
    # In L1 the nearest, where the budget of one pixel stays inside the box; else those with a way to go.
    chosen = reached.argsort(descending=family != "L1")[:6]
    x, y, reached = x[chosen], y[chosen], reached[chosen]
    assert reached.max() < 0.4

    x_adv, away, oracle = nearest(attack, model, x, y, family)

    assert (away / reached).min() > 1 - 1e-4
    assert (away / reached).max() < 1.05
    assert away.dtype == torch.float64
    assert torch.equal(away, distance(x_adv, x, family))
    assert (model(x_adv).argmax(1) != y).all()
    assert not oracle.broken.any()


@for_every_attack
def test_the_distance_to_a_sphere_is_found_within_a_twentieth(nearest, bowl, images, attack):
    """The boundary is curved, and the gradient changes along the way."""
    model, x = bowl(radius=0.8), images(6)
    y = model(x).argmax(1)
    assert y.tolist() == [0] * 6

    _, away, _ = nearest(attack, model, x, y, "L2")

    assert (away / model.distance(x)).min() > 1 - 1e-4
    assert (away / model.distance(x)).max() < 1.05


@for_every_case
def test_a_proposal_is_the_nearest_point_or_its_projection(launch, halfspace, images, attack, family):
    """The ball that reaches the boundary holds a misclassified point; the other one is filled to its surface."""
    model, x = halfspace(), images(24)
    y = model(x).argmax(1)
    chosen = model.distance(x, y, family).argsort(descending=family != "L1")[:4]
    x, y = x[chosen], y[chosen]
    reached = model.distance(x, y, family)
    small, large = 0.8 * reached.min().item(), 1.06 * reached.max().item()

    inside, _ = launch(attack, model, x, y, f"{family}:{small:.6f}")
    across, _ = launch(attack, model, x, y, f"{family}:{large:.6f}")

    assert (model(inside).argmax(1) == y).all()
    assert (model(across).argmax(1) != y).all()
    assert (distance(inside, x, family) <= small * (1 + 1e-5)).all()
    assert (distance(inside, x, family) >= small * 0.99).all()
    assert (distance(across, x, family) <= large * (1 + 1e-5)).all()


@for_every_attack
def test_an_example_inside_the_ball_is_asked_about_no_more(launch, nearest, halfspace, images, attack):
    """A verdict needs no nearer point; a distance does, which those that measure look for in any case."""
    model, x = halfspace(), images(4)
    y = model(x).argmax(1)

    x_adv, hurried = launch(attack, model, x, y, "L2:4")
    _, away, thorough = nearest(attack, model, x, y, "L2")

    assert (model(x_adv).argmax(1) != y).all()
    if attack.measures:
        assert torch.equal(hurried.forwards, thorough.forwards)
        assert torch.equal(distance(x_adv, x, "L2"), away)
    else:
        assert (hurried.forwards < thorough.forwards / 2).all()
        assert (away < distance(x_adv, x, "L2")).sum() >= 3


@for_every_attack
def test_a_misclassified_image_is_its_own_nearest_point(nearest, halfspace, images, attack):
    """Its distance is zero after one question, and the others are looked for as if alone."""
    model, x = halfspace(), images(4)
    y = model(x).argmax(1)
    y[:2] = 1 - y[:2]

    x_adv, away, oracle = nearest(attack, model, x, y, "L2")
    _, alone, _ = nearest(attack, model, x[2:], y[2:], "L2")

    assert torch.equal(x_adv[:2], x[:2])
    assert (away[:2] == 0).all()
    assert (oracle.forwards[:2] == 1).all()
    assert torch.allclose(away[2:], alone, rtol=1e-4)


@for_every_attack
def test_where_nothing_is_misclassified_the_distance_is_infinite(launch, nearest, images, attack):
    """A constant model has no boundary; the image comes back, and nothing is not a number."""

    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(x), 3) + 0 * x.flatten(1).sum(1, keepdim=True)

    x, y = images(3), torch.zeros(3, dtype=torch.int64)

    _, away, _ = nearest(attack, Constant(), x, y, "L2")
    x_adv, _ = launch(attack, Constant(), x, y, "L2:0.5")

    assert (away == torch.inf).all()
    assert torch.isfinite(x_adv).all()
    assert (distance(x_adv, x, "L2") <= 0.5 * (1 + 1e-5)).all()


@for_every_attack
def test_an_answer_that_is_not_a_number_is_a_success(nearest, images, attack):
    """The judge calls such an image wrong, so the nearest one counts."""

    class Hole(torch.nn.Module):
        def forward(self, x):
            bright = x.flatten(1).mean(1)
            gap = 0.55 - bright
            return torch.stack([torch.where(gap < 0.02, torch.nan, gap), 0 * gap], 1)

    x, y = images(3), torch.zeros(3, dtype=torch.int64)

    x_adv, away, _ = nearest(attack, Hole(), x, y, "L2")

    assert Hole()(x_adv).isnan().any(1).all()
    assert (away < 0.1 * 8).all()


@for_every_attack
def test_a_stochastic_defense_is_refused(launch, noisy_halfspace, images, attack):
    """One image has no one prediction there; the remedy is named."""
    with pytest.raises(BenchError, match="not defined for a stochastic defense: use apgd-ce"):
        launch(attack, noisy_halfspace(), images(1), torch.tensor([0]), "L2:0.1", stochastic=True)


def test_a_norm_it_is_not_defined_for_is_refused(nearest, halfspace, images):
    """By either way of asking."""
    with pytest.raises(BenchError, match="unknown norm of DDN 'Linf'"):
        nearest(DDN(), halfspace(), images(1), torch.tensor([0]), "Linf")


def test_no_examples_are_no_questions(nearest, halfspace, images):
    """An empty batch has an empty answer."""
    for attack in ONE_EACH:
        x_adv, away, _ = nearest(attack, halfspace(), images(0), torch.zeros(0, dtype=torch.int64), "L2")

        assert x_adv.shape == (0, 1, 8, 8)
        assert away.shape == (0,)


def test_only_a_nearer_success_takes_the_place_of_a_success(halfspace, images):
    """Before there is one, the largest margin holds the place; afterwards a larger margin counts for nothing."""
    model, x = halfspace(), images(1)
    y, oracle = model(x).argmax(1), Oracle(Defense(model), 1)
    toward = (model.weight[1 - y] - model.weight[y]).detach().view_as(x)
    unit = toward / toward.norm()
    reached = model.distance(x, y, "L2").item()
    found, rows = Nearest(x, "L2"), torch.arange(1)

    for length, kept in [(0.5, 0.5), (0.2, 0.5), (0.9, 0.9), (2.0, 2.0), (1.2, 1.2), (1.6, 1.2), (0.95, 1.2)]:
        found.judge(oracle, x + length * reached * unit, y, rows)

        assert distance(found.x_adv, x, "L2").item() == pytest.approx(kept * reached, rel=1e-4)
        assert found.distance.isfinite().item() == (length >= 1.2 or kept >= 1.2)


@pytest.fixture(scope="module")
def robust_cifar():
    """The shipped robust ResNet, and the first `n` test images it gets right."""
    pictures = load("cifar10", "test", n=96)
    model = load_defense(defense(Request("at", {}), "cifar10", None), pictures.spec).model.eval()
    x, y = torch.from_numpy(pictures.x), torch.from_numpy(pictures.y)
    right = (model(x).argmax(1) == y).nonzero().squeeze(1)
    return lambda n: (model, x[right[:n]], y[right[:n]])


def reference_distance(model, found, x, y, family):
    """How far a peer's points are; infinite where they are right."""
    away = distance(found.detach().float(), x, family)
    return torch.where(model(found).argmax(1) != y, away, torch.inf)


@pytest.mark.data
@with_cifar
@pytest.mark.parametrize(("family", "eps"), [("Linf", 8 / 255), ("L2", 0.5), ("L1", 12.0)])
def test_fab_t_finds_what_the_published_implementation_finds(nearest, robust_cifar, family, eps):
    """At the same steps and targets: no more than one example fewer, and no farther by 1 %."""
    from pyautoattack.fab_pt import FABAttack_PT

    model, x, y = robust_cifar(32)
    attack = FABTargeted(steps=8, targets=2)
    theirs = FABAttack_PT(model, norm=family, n_iter=8, eps=eps, seed=0, device="cpu")
    reference = torch.full((32,), torch.inf, dtype=torch.float64)
    for theirs.target_class in (2, 3):
        found = theirs.attack_single_run(x, y, is_targeted=True)
        reference = torch.minimum(reference, reference_distance(model, found, x, y, family))

    _, away, _ = nearest(attack, model, x, y, family)

    assert 5 < (reference <= eps).sum() < 30
    assert (away <= eps).sum() >= (reference <= eps).sum() - 1
    assert away.median() <= 1.01 * reference.median()
    assert (away <= 1.01 * reference).float().mean() > 0.9


@pytest.mark.data
@with_cifar
@pytest.mark.parametrize("family", EVERY)
def test_fab_finds_what_the_published_implementation_finds(nearest, robust_cifar, family):
    """With the gradients of all ten classes at every step."""
    from pyautoattack.fab_pt import FABAttack_PT

    model, x, y = robust_cifar(12)
    theirs = FABAttack_PT(model, norm=family, n_iter=5, eps=1, seed=0, device="cpu")
    reference = reference_distance(model, theirs.attack_single_run(x, y), x, y, family)

    _, away, _ = nearest(FAB(steps=5), model, x, y, family)

    assert away.median() <= 1.01 * reference.median()
    assert (away <= 1.01 * reference).float().mean() > 0.9


@pytest.mark.data
@with_cifar
@pytest.mark.parametrize(
    ("attack", "family", "theirs", "options"),
    [
        (FMN(steps=20), "Linf", "LInfFMNAttack", {"steps": 20}),
        (FMN(steps=20), "L2", "L2FMNAttack", {"steps": 20}),
        (FMN(steps=20), "L1", "L1FMNAttack", {"steps": 20}),
        (DDN(steps=20), "L2", "DDNAttack", {"steps": 20}),
        (
            CW(steps=30, searches=3, step_size=0.01, weight=1.0),
            "L2",
            "L2CarliniWagnerAttack",
            {"steps": 30, "binary_search_steps": 3, "initial_const": 1.0},
        ),
    ],
    ids=["fmn Linf", "fmn L2", "fmn L1", "ddn", "cw-l2"],
)
def test_it_comes_as_near_as_that_of_foolbox(nearest, robust_cifar, attack, family, theirs, options):
    """At the same steps the median is no farther by 2 %, and what foolbox finds within it is found."""
    foolbox = pytest.importorskip("foolbox")
    model, x, y = robust_cifar(12 if theirs == "L2CarliniWagnerAttack" else 24)
    criterion = foolbox.criteria.Misclassification(y)
    found = getattr(foolbox.attacks, theirs)(**options).run(foolbox.PyTorchModel(model, (0, 1)), x, criterion)
    reference = reference_distance(model, found, x, y, family)

    _, away, _ = nearest(attack, model, x, y, family)

    middle = reference.median()
    assert middle.isfinite()
    assert away.median() <= 1.02 * middle
    assert (away <= middle).sum() >= (reference <= middle).sum() - 1
