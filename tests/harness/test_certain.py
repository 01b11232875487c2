"""What may be called certain under attack: on functions whose slopes are known."""

from __future__ import annotations

import torch

from bench.harness.certain import certain

# Constant images: how bright each is.
SLOPING = [0.5, 0.51, 0.52, 0.53, 0.54]
EPS = 0.2


def clamped(x):
    """Logits of which the second leads from a mean of 0.5 on, by 1 and no more from 0.55 on."""
    lead = (20 * (x.mean((1, 2, 3)) - 0.5)).clamp(-1, 1)
    return torch.stack([torch.zeros_like(lead), lead], 1)


def unclamped(x):
    lead = 20 * (x.mean((1, 2, 3)) - 0.5)
    return torch.stack([torch.zeros_like(lead), lead], 1)


def sure(ask, x, y, grad, noise):
    """What `certain` says of images that are asked about as they are, within EPS."""

    def reach(images, direction):
        return (images + EPS * direction).clamp(0, 1)

    return certain(lambda images, _rows: ask(images), reach, x, x, y, grad, noise)


def found(brightness, ask=clamped, flat=None, label=1, slope=-20 / 64):
    """What `certain` says of constant images; those are flat that `clamped` is flat at, if it is not said otherwise."""
    x = torch.tensor(brightness)[:, None, None, None].expand(-1, 1, 8, 8).clone()
    y = torch.full((len(x),), 1)
    y[0] = label
    flat = [each >= 0.55 for each in brightness] if flat is None else flat
    grad = torch.where(torch.tensor(flat)[:, None, None, None], 0.0, slope).expand_as(x)
    noise = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 1
    return sure(ask, x, y, grad, noise).tolist()


def test_an_image_is_certain_if_nothing_within_eps_changes_its_answer():
    """At 0.9 the mean is 0.7 in the worst case; at 0.65 it is 0.45, which is another class."""
    assert found([0.9, 0.65, *SLOPING]) == [True, False] + 5 * [False]


def test_an_image_that_breaks_towards_another_is_not_certain():
    """Whatever gradients the others lend: here they point the wrong way."""
    assert not any(found([0.65, *SLOPING], slope=20 / 64))


def test_an_image_that_breaks_along_the_gradient_of_another_is_not_certain():
    """Towards the others it does not: in most pixels they are further on the right side, in the others far behind."""
    side = torch.where(torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    behind = torch.where(torch.arange(64).view(1, 8, 8) % 5 < 2, -0.21, 0.01)
    x = 0.5 + 0.1 * side + torch.stack([0 * side, *5 * [side * behind]])
    grad = torch.stack([0 * side, *5 * [-side]])

    def ask(x):
        return clamped(0.5 + (x - 0.5) * side)

    towards, along = (ask((x[:1] + EPS * step).clamp(0, 1)).argmax(1) for step in ((x[1:2] - x[:1]).sign(), -side))

    assert (towards, along) == (1, 0)
    assert not any(sure(ask, x, torch.ones(6, dtype=torch.int64), grad, side.expand_as(x)))


def test_an_image_that_moves_in_small_steps_is_not_certain():
    """Its gradient is zero, and its slope is not: that is masked, though eps breaks nothing."""
    assert found([0.9, *SLOPING], unclamped, [True] + 5 * [False]) == 6 * [False]
    assert found([0.9, *SLOPING], clamped, [True] + 5 * [False])[0]


def test_a_wrong_answer_is_not_certain():
    assert found([0.9, *SLOPING])[0]
    assert not any(found([0.9, *SLOPING], label=0))


def test_where_more_than_half_is_flat_nothing_is_certain():
    """There is too little to guess from."""
    assert sum(found(5 * [0.9] + SLOPING)) == 5
    assert sum(found(6 * [0.9] + SLOPING)) == 0


def test_an_answer_that_is_no_number_is_not_certain():
    def broken(x):
        return torch.where(x.mean((1, 2, 3)) > 0.8, torch.nan, clamped(x).T).T

    assert not any(found([0.9, *SLOPING], broken))
