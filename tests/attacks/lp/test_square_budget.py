"""Moves of Square in L2 and L1, which spend a budget."""

import pytest
import torch

from bench.attacks.lp.square import _State
from bench.attacks.lp.square_budget import _bump, move_budget, tiles
from bench.oracle.geometry import norm
from bench.threats import ThreatModel

LINF, L2, L1 = (ThreatModel.parse(text) for text in ("Linf:0.1", "L2:0.5", "L1:2"))


@pytest.fixture
def state(images):
    def build(n, x_best=None, shape=(3, 8, 8)):
        x = images(n, shape)
        zero = torch.zeros(n)
        best = x.clone() if x_best is None else x_best(x)
        none = zero.long()
        return _State(torch.arange(n), x, none, best, zero, zero[:, None, None], zero, zero, none, none)

    return build


@pytest.mark.parametrize(("family", "order"), [("L2", 2), ("L1", 1)])
def test_a_bump_is_two_pyramids_of_opposite_sign_and_norm_one(family, order):
    """Section 3.4: its two halves push apart, and it spends exactly one unit of budget."""
    bump = _bump(5, family)

    assert bump.norm(order).item() == pytest.approx(1)
    assert (bump[:2] > 0).all()
    assert (bump[2:] < 0).all()
    assert bump[:2].argmax() == 7  # row 1, column 2: the top of the upper pyramid
    assert bump[1, 2] > bump[1, 1] > bump[1, 0] > 0


def test_an_l1_bump_is_the_steeper_one():
    """Heights 1 / k^4 instead of 1 / k^2: the budget of L1 belongs in few pixels."""
    tops = {family: (_bump(5, family)[1, 2] / _bump(5, family)[1, 0]).item() for family in ("L2", "L1")}

    assert tops["L2"] == pytest.approx((1 + 1 / 4 + 1 / 9) / (1 / 9))
    assert tops["L1"] == pytest.approx((1 + 1 / 16 + 1 / 81) / (1 / 81))


def test_in_l1_what_is_too_short_grows_and_what_is_too_long_loses_its_weak_pixels(images, stream):
    """36 bumps of norm one, 5 pixels wide: scaled up to eps 45; at eps 5 their tops alone remain."""
    x = images(1, (1, 32, 32))

    large, small = (tiles(x, stream(1), ThreatModel.parse(f"L1:{eps}")) - x for eps in (45, 5))

    assert 40 < norm(large, "L1").item() <= 45  # the box stops some of the tops
    assert norm(small, "L1").item() == pytest.approx(5, rel=1e-4)
    assert (large[:, :, :30, :30] != 0).all()
    assert (small != 0).sum() <= 4 * 36


@pytest.mark.parametrize("threat", [L2, ThreatModel.parse("L1:0.5")], ids=str)
def test_moves_empty_the_source_and_lose_nothing(state, stream, threat):
    """A square that gives its budget away holds nothing afterwards; what both held is in the target."""
    moving = state(1, lambda x: tiles(x, stream(1), threat), (1, 9, 9))
    # Target square at the top left, source at the bottom right.
    uniform = torch.tensor([[0.0, 0.0, 0.999, 0.999, 0.2, 0.2, 0.2]])

    delta = (move_budget(moving.x, moving.x_best, 3, uniform, threat) - moving.x)[0, 0]

    assert delta[6:, 6:].abs().max() < 1e-6
    assert delta[:3, :3].abs().min() > 0
    before, order = (moving.x_best - moving.x)[0, 0], 2 if threat is L2 else 1
    both = torch.stack([before[6:, 6:], before[:3, :3]])
    assert delta[:3, :3].norm(order).item() == pytest.approx(both.norm(order).item(), rel=1e-2)
