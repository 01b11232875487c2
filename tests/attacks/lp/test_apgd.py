import pytest
import torch

from bench.attacks.lp import apgd
from bench.attacks.lp.apgd import APGD, APGDTargeted
from bench.errors import BenchError


def test_a_broken_example_takes_no_further_queries(launch, halfspace, images):
    """The robust example is queried to the end, the others leave at their first success."""
    model = halfspace()
    x = images(6)
    y = model(x).argmax(1)
    reach = model.distance(x, y, "Linf")
    eps = reach.sort().values[4:].mean().item()

    _, oracle = launch(APGD(steps=30), model, x, y, f"Linf:{eps:.6f}")

    assert oracle.backwards[reach.argmax()] == 31
    assert (oracle.backwards[reach < eps] < 6).all()


def test_with_three_classes_both_wrong_ones_are_aimed_at(launch, halfspace, images):
    """Nine targets are asked for and two exist: two runs of 11 queries, and one to rank the classes."""
    model = halfspace(classes=3)
    x = images(2)
    y = model(x).argmax(1)

    _, oracle = launch(APGDTargeted(steps=10), model, x, y, "Linf:0.000001")

    assert oracle.backwards.tolist() == [22, 22]
    assert oracle.forwards.tolist() == [23, 23]


def test_targets_come_in_the_order_of_the_logits(launch, halfspace, images, monkeypatch):
    """The likeliest wrong class first, from the logits of the image, and never the true class."""
    model = halfspace(classes=6)
    x = images(3)
    y = model(x).argmax(1)
    aimed_at = []
    build = apgd.dlr_targeted
    monkeypatch.setattr(apgd, "dlr_targeted", lambda target: aimed_at.append(target.tolist()) or build(target))

    launch(APGDTargeted(steps=1, targets=4), model, x, y, "L2:0.000001")

    ranked = model(x).argsort(dim=1, descending=True)[:, 1:5]
    assert aimed_at[::2] == ranked.T.tolist()


@pytest.mark.parametrize("attack", [APGD(large_reps=True), APGDTargeted(large_reps=True)])
def test_larger_balls_first_are_for_l1_alone(launch, halfspace, images, attack):
    """In the other norms nobody has asked whether they help; a setting without effect would mislead."""
    with pytest.raises(BenchError, match="large_reps is defined for L1 only, not for L2:2: leave it out"):
        launch(attack, halfspace(), images(1), torch.tensor([0]), "L2:2")


def test_a_family_of_another_kind_is_refused(launch, halfspace, images):
    """One line that says what is left, before anything is asked."""
    with pytest.raises(BenchError, match="APGD is not defined for stadv:2: it attacks Linf, L2, L1"):
        launch(APGD(), halfspace(), images(1), torch.tensor([0]), "stadv:2")


def test_a_misspelt_loss_is_refused():
    """The nearest name is offered."""
    with pytest.raises(BenchError, match="did you mean dlr"):
        APGD("dlrr")
