"""Sparse random search: its moves, its schedule, and what it finds where every choice can be tried."""

import pytest
import torch

from bench.attacks.lp.sparse_rs import SparseRS, changed
from bench.errors import BenchError
from bench.oracle.geometry import distance


def test_it_finds_every_pixel_that_breaks_an_image(robust_digits, launch):
    """One pixel, black or white: 128 points, all of which can be tried."""
    model, x, y = robust_digits
    points = x[:, None].repeat(1, 128, 1, 1, 1)
    for place in range(64):
        points[:, place].flatten(2)[:, 0, place] = 0
        points[:, 64 + place].flatten(2)[:, 0, place] = 1
    able = (model(points.flatten(0, 1)).argmax(1).view(len(x), -1) != y[:, None]).any(1)

    x_adv, _ = launch(SparseRS(), model, x, y, "L0:1", access="score")

    assert 0 < int(able.sum()) < len(x)
    assert torch.equal(model(x_adv).argmax(1) != y, able)


@pytest.mark.parametrize("count", [1, 3, 35, 36, 50])
def test_every_query_changes_so_many_pixels_to_corners_of_the_color_cube(count, stream):
    """Every query of the search, also where all pixels are held; a color that is the image's own is inverted."""
    x = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0)).round()
    model, asked = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 2)), []
    with torch.no_grad():
        model[1].weight.mul_(1e-3)
        model[1].bias.copy_(torch.tensor([9.0, -9.0]))
    model.register_forward_hook(lambda _, inputs, __: asked.append(inputs[0].clone()))

    SparseRS(queries=60)(model, x, torch.zeros(4, dtype=torch.int64), f"L0:{count}")

    assert torch.equal(asked[0], x)
    searched = asked[1:60]
    assert len(searched) == 59
    for points in searched:
        assert distance(points, x, "L0").tolist() == [min(count, 36)] * 4
        assert ((points == 0) | (points == 1)).all()
    assert len({points.numpy().tobytes() for points in searched}) > 50


def test_moves_get_smaller_as_published():
    """Of 20 pixels with a share of 0.8, at the published places of 10,000 queries; another length is scaled."""
    places = (1, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)
    expected = [max(int(0.8 / part * 20), 1) for part in (2, 4, 5, 6, 8, 10, 12, 15, 20)]

    assert [changed(query, 10_000, 0.8, 20) for query in places] == expected
    assert [changed(query, 1000, 0.8, 20) for query in (21, 801)] == [expected[2], expected[8]]
    assert changed(9_999, 10_000, 0.3, 1) == 1


def test_on_a_stochastic_model_it_finds_points_that_are_mostly_wrong(noisy_halfspace, launch):
    """Where moving the best pixel to the edge makes 99 of 100 draws wrong, it finds one as bad, by draws alone."""
    model = noisy_halfspace(noise=0.05)
    x = 0.2 + 0.6 * torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    y = model.halfspace(x).argmax(1)
    points = x[:, None].repeat(1, 128, 1, 1, 1)
    for place in range(64):
        points[:, place].flatten(2)[:, 0, place] = 0
        points[:, 64 + place].flatten(2)[:, 0, place] = 1
    best = model.error_rate(points.flatten(0, 1), y.repeat_interleave(128)).view(12, 128).amax(1)

    torch.manual_seed(0)
    x_adv, oracle = launch(SparseRS(queries=400, eot=10), model, x, y, "L0:1", access="score", stochastic=True)

    rate = model.error_rate(x_adv, y)
    assert 2 < int((best > 0.99).sum()) < 12
    assert (rate[best > 0.99] > 0.9).all()
    assert (rate <= best + 1e-6).all()
    assert oracle.forwards.max() <= 8000
    assert (oracle.forwards[best > 0.999] < 8000).all()  # all wrong in 60 draws: it stops


def test_parameters_that_make_no_attack_are_named():
    for wrong in ({"share": 0.0}, {"queries": 0}, {"eot": 0}):
        with pytest.raises(BenchError, match=next(iter(wrong))):
            SparseRS(**wrong)
