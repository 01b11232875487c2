import pytest
import torch
from torch import nn

from bench.attacks.lp.pgd import PGD
from bench.attacks.search import Best, direction, sparse_step
from bench.errors import BenchError
from bench.oracle.answers import Gradient, misclassified
from bench.oracle.oracle import Oracle
from bench.types import Defense


def reply(softness, success, loss=0.0):
    return Gradient(
        torch.tensor([loss]), torch.zeros(1, 1), torch.zeros(1, 2), torch.tensor([success]), torch.tensor([softness])
    )


def judged(points, *, stochastic, eot):
    """The point kept after judging (softness, success[, loss]) in order; point k holds the value k / 100."""
    best = Best(torch.ones(1, 1, 1, 1))
    oracle = Oracle(Defense(nn.Identity(), stochastic=stochastic), 1)
    for index, answer in enumerate(points):
        point = torch.full((1, 1, 1, 1), index / 100)
        best.update(oracle, point, torch.tensor([0]), reply(*answer), eot=eot)
    return round(best.x_adv.item() * 100)


def test_a_deterministic_success_is_never_lost():
    """A point that fools the model outranks all that do not, whatever comes after it."""
    kept = judged([(0.4, 0.0), (0.51, 1.0), (0.49, 0.0)], stochastic=False, eot=1)

    assert kept == 1


def test_without_success_the_largest_margin_is_kept():
    """Among points that fool nobody the one nearest to the boundary wins."""
    kept = judged([(0.1, 0.0), (0.3, 0.0), (0.2, 0.0)], stochastic=False, eot=1)

    assert kept == 1


def test_beyond_the_boundary_the_largest_loss_is_kept():
    """The sigmoid of a margin of 20 is one in float32; what a transfer needs is the deepest point of all."""
    kept = judged([(1.0, 1.0, 20.0), (1.0, 1.0, 30.0), (1.0, 1.0, 25.0), (0.9, 1.0, 40.0)], stochastic=False, eot=1)

    assert kept == 1


def test_the_loss_of_a_stochastic_defense_ranks_nothing():
    """It is a mean at a single point, and its maximum is luck: of points that tie the latest is kept."""
    kept = judged([(0.5, 0.0, 9.0), (0.5, 0.0, 3.0)], stochastic=True, eot=20)

    assert kept == 1


def test_a_point_with_a_lucky_majority_does_not_outrank_a_larger_mean_margin():
    """Draws of a stochastic defense are ranked by mean sigmoid(margin), not by how many were wrong."""
    kept = judged([(0.6, 0.5), (0.55, 0.9)], stochastic=True, eot=20)

    assert kept == 0


def test_a_lucky_mean_does_not_outrank_a_steady_climb():
    """Means are taken along the trajectory: one high answer among low ones is luck."""
    kept = judged([(0.1, 0.0), (0.5, 0.0), (0.1, 0.0), (0.4, 0.0), (0.42, 0.0)], stochastic=True, eot=20)

    assert kept == 4


def test_a_restart_forgets_the_trend_and_keeps_the_best():
    """A new trajectory begins with its own first answer; the old best point has to be beaten."""
    best = Best(torch.ones(1, 1, 1, 1))
    oracle = Oracle(Defense(nn.Identity(), stochastic=True), 1)
    rows = torch.tensor([0])
    best.update(oracle, torch.full((1, 1, 1, 1), 0.2), rows, reply(0.1, 0.0), eot=20)

    best.restart()
    best.update(oracle, torch.full((1, 1, 1, 1), 0.3), rows, reply(0.3, 0.0), eot=20)

    assert best.score.item() == pytest.approx(0.3)
    assert best.x_adv.item() == pytest.approx(0.3)


def test_a_point_wrong_in_every_draw_outranks_all_others():
    """Twenty of twenty wrong is evidence; a larger mean margin with a correct draw is not."""
    kept = judged([(0.9, 0.95), (0.7, 1.0), (0.95, 0.95)], stochastic=True, eot=20)

    assert kept == 1


def test_one_draw_of_a_stochastic_defense_ranks_nothing():
    """A maximum over single draws is a maximum of luck: the latest point is kept instead."""
    kept = judged([(0.9, 1.0), (0.1, 0.0)], stochastic=True, eot=1)

    assert kept == 1


@pytest.mark.parametrize("stochastic", [False, True])
def test_an_answer_that_is_not_a_number_wins_the_point(stochastic):
    """Not-a-number logits are an error of the defense, never a reason to lose the point."""
    kept = judged([(0.4, 0.0), (float("nan"), 1.0), (0.45, 0.0)], stochastic=stochastic, eot=20)

    assert kept == 1


@pytest.mark.parametrize("family", ["Linf", "L2"])
def test_a_tiny_gradient_still_has_a_direction(family):
    """Entries of 1e-30 have squares that float32 cannot hold, and a direction all the same."""
    grad = torch.tensor([[3e-30, -4e-30]])

    step = direction(grad, family)

    expected = torch.tensor([[1.0, -1.0]]) if family == "Linf" else torch.tensor([[0.6, -0.8]])
    assert torch.allclose(step, expected)


def test_gradients_that_are_not_finite_or_zero_give_no_step():
    """Such an entry counts as zero and leaves the others alone."""
    grad = torch.tensor([[float("nan"), 1.0], [float("inf"), -2.0], [0.0, 0.0]])

    step = direction(grad, "Linf")

    assert step.tolist() == [[0.0, 1.0], [0.0, -1.0], [0.0, 0.0]]


def test_a_tie_and_a_non_finite_logit_are_judged_as_the_harness_does():
    """At a tie the first largest logit is the prediction; a row that is not finite is wrong."""
    logits = torch.tensor([[1.0, 1.0], [float("nan"), 0.0], [2.0, float("-inf")], [2.0, 0.0]])

    wrong = misclassified(logits, torch.tensor([0, 0, 0, 0]))

    assert wrong.tolist() == [False, True, True, False]


def test_a_meaningless_parameter_is_refused_by_name():
    """Zero steps would return the image unattacked, as if it were robust."""
    with pytest.raises(BenchError, match="PGD: steps=0 must be at least 1"):
        PGD(steps=0)


def test_a_sparse_step_is_the_same_in_any_batch():
    """Only as many entries are ranked as the row that moves most of them needs."""
    generator = torch.Generator().manual_seed(0)
    grad, x = torch.randn(3, 2, 4, 4, generator=generator), torch.rand(3, 2, 4, 4, generator=generator)
    count, length = torch.tensor([1, 40, 5]), torch.tensor([0.1, 0.2, 0.3])

    whole = sparse_step(grad, x, count, length, grade=1.0)

    alone = [
        sparse_step(grad[k : k + 1], x[k : k + 1], count[k : k + 1], length[k : k + 1], grade=1.0) for k in range(3)
    ]
    assert torch.equal(whole, torch.cat(alone))
    assert torch.allclose(whole.abs().sum((1, 2, 3)), length)


def test_a_linf_direction_is_the_sign_of_the_smallest_gradient_there_is():
    """Whatever the largest entry of the row: nothing is scaled away."""
    grad = torch.tensor([[1e4, -1e-42, 0.0, torch.nan]])

    assert direction(grad, "Linf").tolist() == [[1, -1, 0, 0]]


def test_a_sparse_step_has_the_length_asked_for_and_moves_the_strongest():
    """Uphill, the `count` strongest entries and those within a hundredth of the next one."""
    grad = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    length = torch.tensor([0.1, 1, 2, 5])

    step = sparse_step(grad, torch.full_like(grad, 0.5), torch.tensor([5, 10, 20, 191]), length, grade=0.5)

    assert torch.allclose(step.flatten(1).abs().sum(1), length)
    assert (step * grad >= 0).all()
    for row, count in enumerate((5, 10, 20, 191)):
        moved = step[row].flatten().nonzero().squeeze(1).tolist()
        strongest = grad[row].flatten().abs().argsort(descending=True)[:count].tolist()
        assert set(strongest) <= set(moved)
        assert len(moved) <= 1.1 * count + 2


def test_a_pixel_at_the_edge_is_held_there_and_counts_for_nothing():
    """The length asked for goes to those that can move."""
    x = torch.tensor([1.0, 0.0, 0.5, 0.5, 0.5]).view(1, 1, 1, 5)
    grad = torch.tensor([5.0, -4.0, 3.0, 2.0, 1.0]).view(1, 1, 1, 5)

    step = sparse_step(grad, x, torch.tensor([1]), torch.tensor([0.2]), grade=1).flatten()

    assert step[0] > 0
    assert step[1] < 0
    assert step[2:].abs().sum().item() == pytest.approx(0.2)
    assert step[2] > 0.15


@pytest.mark.parametrize("grade", [0.25, 1])
def test_equal_gradients_move_alike(grade):
    """A constant gradient is no reason to stand still."""
    grad = torch.ones(1, 1, 2, 2)

    step = sparse_step(grad, 0.5 * grad, torch.tensor([1]), torch.tensor([1.0]), grade=grade)

    assert torch.allclose(step, torch.full_like(step, 0.25))


def test_a_higher_grade_gives_more_to_the_strongest():
    """Nearly alike at 0.25, by what they exceed the strongest one left out at 1."""
    grad = torch.tensor([4.0, 2.0, 1.0, 0.0]).view(1, 1, 2, 2)

    shares = [
        sparse_step(grad, torch.full_like(grad, 0.5), torch.tensor([2]), torch.ones(1), grade=grade).flatten()
        for grade in (0.25, 1)
    ]

    assert torch.allclose(shares[1], torch.tensor([0.748, 0.25, 0.0025, 0]), atol=2e-3)
    assert 1 < shares[0][0] / shares[0][1] < 1.5


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_the_scale_of_the_gradient_does_not_matter(factor):
    """Squares and sums of such gradients leave float32; the step does not."""
    grad = torch.tensor([1.0, 0.5, -0.2, 0.0]).view(1, 1, 2, 2)
    at, count, length = torch.full_like(grad, 0.5), torch.tensor([2]), torch.tensor([0.3])

    scaled, plain = (sparse_step(each, at, count, length, grade=1) for each in (factor * grad, grad))

    assert torch.allclose(scaled, plain)


def test_without_a_gradient_there_is_no_step():
    """Zero everywhere, or not a number, or with every pixel at the edge it points at."""
    at = torch.tensor([0.5, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    grad = torch.tensor([0.0, torch.nan, 1.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)

    step = sparse_step(grad, at, torch.tensor([2, 2, 2]), torch.ones(3), grade=1)

    assert (step == 0).all()
