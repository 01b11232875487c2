"""Whether a gradient foretells how answers change, with the truth in closed form."""

import pytest
import torch
from torch import nn

from bench.harness import foretold
from bench.oracle.oracle import Oracle
from bench.types import Defense


class HalfDetached(nn.Module):
    """A noisy linear classifier whose gradient knows only a share of the pixels."""

    def __init__(self, model, share, jitter=0.01):
        super().__init__()
        self.model, self.share, self.jitter = model, share, jitter

    def forward(self, x):
        x = x + self.jitter * torch.randn_like(x)
        known = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(1)) < self.share
        return self.model(torch.where(known, x, x.detach()))


def agreed(model, x, y):
    oracle = Oracle(Defense(model.eval(), stochastic=True), len(x), scope=("test",))
    noise = torch.rand(len(x), foretold.DIRECTIONS, *x.shape[2:], generator=torch.Generator().manual_seed(0)) - 0.5
    return foretold.agreement(oracle, x, y, torch.arange(len(x)), noise), oracle


def test_a_linear_model_is_foretold_whatever_its_noise(halfspace, images):
    x = images(32)
    found, oracle = agreed(HalfDetached(halfspace(), 1.0, jitter=0.5), x, halfspace()(x).argmax(1))

    assert (found > 0.999).all()
    assert not foretold.misled(found)
    # One gradient and two points for each direction, in two draws each.
    assert (oracle.forwards == 2 * (1 + 2 * foretold.DIRECTIONS)).all()
    assert (oracle.backwards == 2).all()


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_half_of_a_gradient_is_noticed(halfspace, images, share):
    """The cosine of the two slopes is the root of the share of the squares that the gradient knows."""
    x = images(64)
    found, _ = agreed(HalfDetached(halfspace(), share), x, halfspace()(x).argmax(1))

    assert foretold.misled(found)


def test_no_change_at_all_is_no_evidence_and_an_answer_that_is_no_number_is():
    nan = torch.tensor([torch.nan, torch.nan])

    assert not foretold.misled(nan)
    assert foretold.misled(torch.tensor([-1.0, torch.nan]))
    assert not foretold.misled(torch.tensor([0.95, 0.99, 0.2]))
