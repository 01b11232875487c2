"""Which entries a step in L1 moves, and by how much."""

import pytest
import torch

from bench.attacks.trajectory import sparse_step


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
