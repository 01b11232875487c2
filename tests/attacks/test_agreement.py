"""Against the published implementation, on a network trained adversarially: nothing may be missed."""

import logging

import pytest

from bench.attacks.apgd import APGD, APGDTargeted
from bench.attacks.square import Square
from bench.types import ThreatModel

THREATS = ["Linf:0.15", "L2:0.8"]


def missed(model, y, reference, x_adv):
    """Examples the reference breaks and ours does not, and how many the reference breaks."""
    theirs, ours = model(reference).argmax(1) != y, model(x_adv).argmax(1) != y
    return int((theirs & ~ours).sum()), int(theirs.sum())


@pytest.fixture
def options(monkeypatch):
    """The parameters both sides share; the library warns of zero gradients through its logger."""
    monkeypatch.setattr(logging.getLogger("auto-attack"), "level", logging.CRITICAL + 1)

    def build(text):
        threat = ThreatModel.parse(text)
        shared = {"eps": float(threat.eps), "norm": threat.family, "seed": 0, "device": "cpu"}
        return threat, shared, logging.getLogger("auto-attack")

    return build


@pytest.mark.parametrize("text", THREATS)
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_apgd_misses_at_most_one_example(launch, robust_digits, options, text, loss):
    """100 steps each; other random starts and one rounding may move one borderline example."""
    from pyautoattack.autopgd_base import APGDAttack

    model, x, y = robust_digits
    threat, shared, logger = options(text)

    x_adv, _ = launch(APGD(loss), model, x, y, threat)
    reference = APGDAttack(model, loss=loss, logger=logger, **shared).perturb(x, y)

    lost, broken = missed(model, y, reference, x_adv)
    assert 8 <= broken <= 28
    assert lost <= 1


@pytest.mark.parametrize("text", THREATS)
def test_targeted_apgd_misses_at_most_one_example(launch, robust_digits, options, text):
    """40 steps for each of 4 targets."""
    from pyautoattack.autopgd_base import APGDAttack_targeted

    model, x, y = robust_digits
    threat, shared, logger = options(text)

    x_adv, _ = launch(APGDTargeted(steps=40, targets=4), model, x, y, threat)
    theirs = APGDAttack_targeted(model, n_iter=40, n_target_classes=4, logger=logger, **shared)
    reference = theirs.perturb(x, y)

    lost, broken = missed(model, y, reference, x_adv)
    assert 8 <= broken <= 28
    assert lost <= 1


@pytest.mark.parametrize("text", THREATS)
def test_square_breaks_no_fewer_than_all_but_one(launch, robust_digits, options, text):
    """400 queries each; a random search may break other examples, but not fewer."""
    from pyautoattack.square import SquareAttack

    model, x, y = robust_digits
    threat, shared, _ = options(text)

    x_adv, _ = launch(Square(queries=400), model, x, y, threat, access="score")
    reference = SquareAttack(model, n_queries=400, **shared).perturb(x, y)

    _, broken = missed(model, y, reference, x_adv)
    assert broken >= 5
    assert (model(x_adv).argmax(1) != y).sum() >= broken - 1
