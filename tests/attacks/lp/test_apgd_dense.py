"""The step sizes of Auto-PGD in Linf and L2, and when they are halved."""

import pytest
import torch

from bench.attacks.lp.apgd_dense import DenseState, checkpoints


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
