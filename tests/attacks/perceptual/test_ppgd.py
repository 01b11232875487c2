"""PPGD: its steps, and the linear systems it solves for them."""

import math

import pytest
import torch
from torch import nn

from bench.attacks.perceptual.ball import Ball
from bench.attacks.perceptual.ppgd import PPGD, conjugate_gradient
from bench.oracle.activations import Features
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


@pytest.fixture
def attack_on(stream):
    """Run an attack on a defense; returns `x_adv`, the proof and the oracle."""

    def run(attack, subject, x, y, threat):
        oracle = Oracle(subject, len(x), scope=("test",))
        x_adv, proof = attack.propose(oracle, x, y, ThreatModel.parse(threat), stream=stream(len(x)))
        return x_adv, proof, oracle

    return run


def test_conjugate_gradients_solve_linear_systems():
    """In as many iterations as unknowns, against a direct solver, together with the length in A."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(3, 9, 6, generator=generator, dtype=torch.float64)
    matrix, right = root.mT @ root, torch.randn(3, 6, generator=generator, dtype=torch.float64)

    found, length = conjugate_gradient(lambda rows: (matrix @ rows[..., None]).squeeze(2), right, 6)

    expected = torch.linalg.solve(matrix, right)
    assert torch.allclose(found, expected, rtol=1e-6)
    assert torch.allclose(length, (expected * right).sum(1).sqrt(), rtol=1e-6)


def test_conjugate_gradients_stay_finite_where_there_is_nothing_to_solve():
    """No right side, no matrix, and a system that is solved in one iteration of five."""
    right = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    scale = torch.tensor([[1.0], [0.0], [2.0]])

    found, length = conjugate_gradient(lambda rows: scale * rows, right, 5)

    assert torch.equal(found, torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.5, 2.0]]))
    assert length.tolist() == pytest.approx([0, 0, math.sqrt(12.5)])


def test_a_step_is_the_steepest_of_its_perceptual_length(attack_on, small_cnn, stream):
    """With as many iterations as pixels it solves J^T J d = g, J computed in full, and |J d| is the length."""
    network = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(54, 3)).double()
    x = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    around = Ball(Oracle(Defense(network), 1), Features(network), x, 1.0)
    rows, grad = torch.zeros(1, dtype=torch.int64), torch.rand_like(x) - 0.5
    jacobian = torch.autograd.functional.jacobian(lambda point: around.activations(point, rows), x).view(-1, 9)
    expected = torch.linalg.solve(jacobian.T @ jacobian, grad.flatten())

    step = PPGD(cg_steps=30, h=1e-6).step(around, x, rows, grad).flatten()

    assert torch.nn.functional.cosine_similarity(step, expected, dim=0) > 0.999
    assert (jacobian @ step).norm().item() == pytest.approx(1, rel=1e-3)
