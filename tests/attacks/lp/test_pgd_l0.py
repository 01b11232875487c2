"""PGD on a number of pixels: the optimum on linear models, and every choice of pixels on small ones."""

from itertools import combinations

import pytest
import torch

from bench.attacks.lp.pgd_l0 import PGDL0
from bench.errors import BenchError
from bench.oracle.answers import margin
from bench.oracle.geometry import distance


def largest_margin(model, x, y, count):
    """The margin of two classes where the pixels of largest gain go to the edge of the box: the optimum, `[B]`."""
    slope = (model.weight[1 - y] - model.weight[y]).view_as(x)
    gain = torch.maximum(slope * (1 - x), -slope * x).sum(1).flatten(1)
    return margin(model(x), y) + gain.topk(count, dim=1).values.sum(1)


@pytest.mark.parametrize("count", [1, 3, 8, 40])
def test_one_step_on_a_linear_model_takes_the_pixels_of_largest_gain(halfspace, images, launch, count):
    """In three channels, some of whose values are at the edge; in one step and without restarts."""
    shape = (3, 6, 6)
    model = halfspace(shape=shape, scale=1.0)
    x = images(24, shape).sub(0.4).mul(5).clamp(0, 1)
    y = model(x).argmax(1)

    x_adv, _ = launch(PGDL0(steps=1, n_restarts=1, step_size=1e5), model, x, y, f"L0:{min(count, 36)}")

    most = largest_margin(model, x, y, min(count, 36))
    found = margin(model(x_adv), y)
    assert distance(x_adv, x, "L0").max() <= count
    # What is broken on the way stays as it is found: further from the boundary is no better.
    assert torch.equal(found > 0, most > 0)
    assert torch.allclose(found[most < 0], most[most < 0], atol=2e-3)


def test_a_run_with_the_usual_steps_finds_the_same_optimum(halfspace, images, launch):
    model, x = halfspace(), images(32).sub(0.4).mul(5)
    y = model(x).argmax(1)

    x_adv, _ = launch(PGDL0(), model, x, y, "L0:1")

    most = largest_margin(model, x, y, 1)
    assert 0 < int((most > 0).sum()) < 32
    assert torch.equal(model(x_adv).argmax(1) != y, most > 0)


def test_restarts_find_pixels_that_a_single_run_misses(robust_digits, launch):
    """Against every two pixels at black and white: nothing is broken that they cannot break, and more with restarts."""
    model, x, y = robust_digits[0], robust_digits[1][:12], robust_digits[2][:12]
    pairs = torch.tensor(list(combinations(range(64), 2)))
    able = torch.zeros(len(x), dtype=torch.bool)
    for row in range(len(x)):
        for colors in ((0, 0), (0, 1), (1, 0), (1, 1)):
            points = (
                x[row]
                .flatten()
                .repeat(len(pairs), 1)
                .scatter_(1, pairs, torch.tensor(colors).float().expand(len(pairs), 2))
            )
            able[row] |= bool((model(points.view(-1, 1, 8, 8)).argmax(1) != y[row]).any())

    broken = [model(launch(PGDL0(n_restarts=runs), model, x, y, "L0:2")[0]).argmax(1) != y for runs in (1, 40)]

    assert not (broken[1] & ~able).any()
    assert broken[0].sum() < broken[1].sum()
    assert broken[1].sum() >= able.sum() - 2


def test_a_hopeless_gradient_moves_nothing_out_of_the_ball(masked, images, launch):
    model, x = masked(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))), images(4)
    y = model(x).argmax(1)

    x_adv, _ = launch(PGDL0(n_restarts=3), model, x, y, "L0:2")

    assert distance(x_adv, x, "L0").max() <= 2


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"n_restarts": 0}, {"eot": 0}, {"step_size": 0.0}, {"loss": "l2"}])
def test_parameters_that_make_no_attack_are_named(wrong):
    with pytest.raises(BenchError, match=str(next(iter(wrong)))):
        PGDL0(**wrong)
