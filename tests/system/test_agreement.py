"""Against other implementations, on networks trained adversarially: nothing may be missed."""

import importlib.metadata
import logging
import os
import warnings

import pytest
import torch

from bench.attacks.lp.apgd import APGD, APGDTargeted
from bench.attacks.lp.pgd import PGD
from bench.attacks.lp.square import Square
from bench.catalogue.attack_libraries import peer_entry
from bench.catalogue.loading import load_defense
from bench.catalogue.registry import load
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import load as load_images
from bench.threats import ThreatModel

needs_images = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10"),
]
NETWORKS = ["digits", pytest.param("pictures", marks=needs_images)]
# For each network the sizes at which about half of its examples fall.
SIZES = {
    "digits": {"Linf": "0.15", "L2": "0.8", "L1": "1.5"},
    "pictures": {"Linf": "8/255", "L2": "0.5", "L1": "12"},
}
FAMILIES = ["Linf", "L2", "L1"]


def missed(model, y, reference, x_adv):
    """Examples the reference breaks and ours does not, and how many the reference breaks."""
    theirs, ours = model(reference).argmax(1) != y, model(x_adv).argmax(1) != y
    return int((theirs & ~ours).sum()), int(theirs.sum())


@pytest.fixture(scope="module")
def robust_pictures():
    """The shipped robust ResNet-8 for CIFAR-10, and the test images of 24 it gets right."""
    pictures = load_images("cifar10", "test", n=24)
    model = load_defense(defense(Request("at", {}), "cifar10", None), pictures.spec).model
    x, y = torch.from_numpy(pictures.x), torch.from_numpy(pictures.y)
    right = model(x).argmax(1) == y
    return model, x[right].contiguous(), y[right]


@pytest.fixture(autouse=True)
def _quietly_imported():
    """What the libraries warn of while they are imported is not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def network(request):
    """A robust network by name, with examples it gets right."""
    return lambda name: request.getfixturevalue(f"robust_{name}")


@pytest.fixture
def options(monkeypatch):
    """The parameters both sides share; the library warns of zero gradients through its logger."""
    monkeypatch.setattr(logging.getLogger("auto-attack"), "level", logging.CRITICAL + 1)

    def build(name, family):
        threat = ThreatModel.parse(f"{family}:{SIZES[name][family]}")
        shared = {"eps": float(threat.eps), "norm": threat.family, "seed": 0, "device": "cpu"}
        return threat, shared, logging.getLogger("auto-attack")

    return build


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_apgd_misses_at_most_one_example(launch, network, options, name, family, loss):
    """25 steps each; other random starts and one rounding may move one borderline example."""
    from pyautoattack.autopgd_base import APGDAttack

    model, x, y = network(name)
    threat, shared, logger = options(name, family)

    x_adv, _ = launch(APGD(loss, steps=25), model, x, y, threat)
    reference = APGDAttack(model, n_iter=25, loss=loss, logger=logger, **shared).perturb(x, y)

    lost, broken = missed(model, y, reference, x_adv)
    assert 0.15 * len(x) <= broken <= 0.9 * len(x)
    assert lost <= 1


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_targeted_apgd_misses_at_most_one_example(launch, network, options, name, family):
    """15 steps for each of 3 targets."""
    from pyautoattack.autopgd_base import APGDAttack_targeted

    model, x, y = network(name)
    threat, shared, logger = options(name, family)

    x_adv, _ = launch(APGDTargeted(steps=15, targets=3), model, x, y, threat)
    theirs = APGDAttack_targeted(model, n_iter=15, n_target_classes=3, logger=logger, **shared)
    reference = theirs.perturb(x, y)

    lost, broken = missed(model, y, reference, x_adv)
    assert 0.15 * len(x) <= broken <= 0.9 * len(x)
    assert lost <= 1


def test_apgd_through_larger_balls_misses_at_most_one_example(launch, network, options):
    """AutoAttack's schedule in L1: 3 eps, 2 eps and eps, in the same number of steps."""
    from pyautoattack.autopgd_base import APGDAttack

    model, x, y = network("digits")
    threat, shared, logger = options("digits", "L1")

    x_adv, _ = launch(APGD(steps=50, large_reps=True), model, x, y, threat)
    reference = APGDAttack(model, n_iter=50, use_largereps=True, logger=logger, **shared).perturb(x, y)

    lost, broken = missed(model, y, reference, x_adv)
    assert 5 <= broken <= 28
    assert lost <= 1


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_square_breaks_no_fewer_than_all_but_one(launch, network, options, name, family):
    """A few hundred queries each; a random search may break other examples, but not fewer."""
    from pyautoattack.square import SquareAttack

    model, x, y = network(name)
    threat, shared, _ = options(name, family)
    queries = 400 if name == "digits" else 100

    x_adv, _ = launch(Square(queries=queries), model, x, y, threat, access="score")
    reference = SquareAttack(model, n_queries=queries, **shared).perturb(x, y)

    _, broken = missed(model, y, reference, x_adv)
    assert broken >= 1
    assert (model(x_adv).argmax(1) != y).sum() >= broken - 1


# Projected gradient descent from the image, 20 steps of a quarter of eps, in the words of each library.
_FOOLBOX = {"steps": 20, "rel_stepsize": 0.25, "random_start": False}
_TORCHATTACKS = {"steps": 20, "alpha": 0.25, "random_start": False}
_ART = {"max_iter": 20, "eps_step": 0.25, "num_random_init": 0}
PEERS = [
    ("foolbox:LinfPGD", "Linf", _FOOLBOX),
    ("foolbox:L2PGD", "L2", _FOOLBOX),
    ("foolbox:SparseL1DescentAttack", "L1", _FOOLBOX),
    ("torchattacks:PGD", "Linf", _TORCHATTACKS),
    ("torchattacks:PGDL2", "L2", _TORCHATTACKS),
    ("art:ProjectedGradientDescent", "Linf", _ART),
    ("art:ProjectedGradientDescent", "L2", _ART),
]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("peer", "family", "parameters"), PEERS, ids=[f"{peer} {family}" for peer, family, _ in PEERS])
def test_pgd_breaks_what_other_libraries_break(launch, network, name, peer, family, parameters):
    """The same examples but one; in L1, where theirs moves one pixel of 100, more."""
    if (name, peer) == ("pictures", "torchattacks:PGDL2"):
        pytest.skip("torchattacks cannot view the gradient of a network with channels last")
    entry = peer_entry(peer)
    for distribution in entry.requires:
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{distribution} is not installed")
    model, x, y = network(name)
    threat = ThreatModel.parse(f"{family}:{SIZES[name][family]}")
    absolute = {key: 0.25 * float(threat.eps) for key in ("alpha", "eps_step") if key in parameters}

    x_adv, _ = launch(PGD(steps=20, random_start=False), model, x, y, threat)
    theirs = load(entry.target)(**entry.config, parameters={**parameters, **absolute})
    reference, _ = launch(theirs, model, x, y, threat)

    lost, broken = missed(model, y, reference, x_adv)
    won, _ = missed(model, y, x_adv, reference)
    assert 0.1 * len(x) <= broken <= 0.9 * len(x)
    assert lost <= 1
    assert won <= (1 if family != "L1" else len(x))
