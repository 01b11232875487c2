import pytest
import torch

from bench.attacks import apgd
from bench.attacks.apgd import APGD, APGDTargeted
from bench.attacks.apgd_state import DenseState, checkpoints
from bench.errors import BenchError


def test_the_checkpoints_are_those_of_autoattack():
    """100 steps: first after 22, then 19, 16, 13, 10, 7 and 6 further on."""
    found = checkpoints(100)

    assert list(found.items()) == [(22, 22), (41, 19), (57, 16), (70, 13), (80, 10), (87, 7), (93, 6), (99, 6)]


def state(*, rises, halved, best, before):
    """One example at 0.5 whose best point is at 0.7, at a checkpoint."""
    here = torch.full((1, 1, 1, 1), 0.5)
    found = DenseState.at(torch.tensor([0]), here, torch.tensor([0]), torch.tensor([0]), here, eps=0.1)
    found.x_best = torch.full_like(here, 0.7)
    found.grad_best = torch.full_like(here, 9.0)
    found.rises = torch.tensor([rises])
    found.halved = torch.tensor([halved])
    found.loss_best, found.loss_best_at_check = torch.tensor([best]), torch.tensor([before])
    return found


@pytest.mark.parametrize(
    ("rises", "halved", "best", "before", "halves"),
    [
        (15, True, 2.0, 1.0, True),  # 15 of 20 rises are not more than rho = 0.75
        (16, True, 2.0, 1.0, False),
        (16, False, 1.0, 1.0, True),  # neither the step nor the best loss has changed
        (16, False, 1.1, 1.0, False),
        (16, True, 1.0, 1.0, False),  # the step has just been halved: wait
    ],
)
def test_the_step_halves_when_progress_stalls_and_not_before(rises, halved, best, before, halves):
    """Both conditions of section 3.1 of the paper; after halving the search goes back to the best point."""
    example = state(rises=rises, halved=halved, best=best, before=before)

    example.check(20, 0.75)

    assert example.length.item() == pytest.approx(0.1 if halves else 0.2)
    assert example.x_adv.item() == pytest.approx(0.7 if halves else 0.5)
    assert example.grad.item() == (9 if halves else 0)
    assert example.halved.item() is halves
    assert example.rises.item() == 0


def test_rises_are_counted_between_judged_points():
    """The start is no rise; then every higher loss is one, compared with the point before it."""
    example = state(rises=0, halved=True, best=-torch.inf, before=-torch.inf)

    for loss in (1.0, 2.0, 1.5, 1.7):
        example.learn(torch.tensor([loss]), torch.zeros(1, 1, 1, 1))

    assert example.rises.item() == 2
    assert example.loss_best.item() == 2


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
