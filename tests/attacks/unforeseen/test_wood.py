import math
import os

import pytest
import torch
from torch import nn

from bench.attacks.unforeseen.rendered import Proof
from bench.attacks.unforeseen.wood import Wood, render, shade
from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import load
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


@pytest.fixture
def x():
    return torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def warp():
    return 0.2 * torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1)) - 0.1


def test_without_a_warp_the_rings_are_the_formula(x):
    """Every pixel by its distance from the center, where the middle of an edge is at 1."""
    dark = shade(torch.zeros(1, 1, 4, 4), 3, 8, 12, 16)

    for row, column in [(0, 0), (5, 7), (6, 8), (3, 15), (11, 2)]:
        distance = math.hypot((column + 0.5) / 8 - 1, (row + 0.5) / 6 - 1)
        assert dark[0, 0, row, column].item() == pytest.approx(abs(math.sin(3 * math.pi * distance)) ** (1 / 8))
    assert torch.equal(render(x, torch.zeros(3, 1, 4, 4), 3, 8), x * dark.float())
    assert torch.allclose(dark, dark.flip(2, 3))


def test_a_warp_by_a_whole_ring_is_none():
    """The rings repeat: a constant warp of 1 / rings changes nothing, one of half of it everything."""
    zero = torch.zeros(1, 1, 4, 4, dtype=torch.float64)

    whole, half = (shade(zero + part / 5, 5, 2, 16, 16) for part in (1, 0.5))

    assert torch.allclose(whole, shade(zero, 5, 2, 16, 16))
    assert torch.allclose(half**4 + whole**4, torch.ones_like(half))  # the squares of a sine and a cosine


def test_only_pixels_near_a_point_of_the_grid_follow_it(x):
    """Bilinear interpolation reaches as far as the next point."""
    warp = torch.zeros(3, 1, 4, 4)
    warp[1, 0, 0, 0] = 0.05

    changed = render(x, warp, 5, 8) != render(x, torch.zeros_like(warp), 5, 8)

    assert changed[1, :, :4, :6].any(2).all()
    changed[1, :, :5, :6] = False
    assert not changed.any()


def test_single_precision_of_the_warp_is_not_that_of_the_rings(warp):
    """Near a ring the root turns the last bit of a sine in float32 into thousandths."""
    assert torch.equal(shade(warp, 5, 8, 12, 16), shade(warp.double(), 5, 8, 12, 16))


def test_a_row_depends_on_its_own_warp_alone(x, warp):
    together = render(x, warp, 5, 8)

    assert torch.equal(together, torch.cat([render(x[i : i + 1], warp[i : i + 1], 5, 8) for i in range(3)]))


def test_the_gradient_is_the_slope_of_the_image(x, warp):
    """Central differences in float64 agree with autograd."""
    image = x[:2, :1, :5, :6].double()

    assert torch.autograd.gradcheck(lambda w: render(image, w, 2, 2), warp[:2].double().requires_grad_())


def test_on_a_ring_the_gradient_is_a_number():
    """The root has an infinite slope at zero: at the center of an image with an odd side, for one."""
    warp = torch.zeros(1, 1, 3, 3, requires_grad=True)

    image = render(torch.ones(1, 1, 9, 9), warp, 5, 8)
    image.sum().backward()

    assert 0 < image[0, 0, 4, 4] < 0.2
    assert torch.isfinite(warp.grad).all()


@pytest.mark.parametrize(("side", "points", "rings"), [(8, 8, 2), (32, 16, 5), (64, 16, 5), (224, 32, 4)])
def test_the_board_fits_the_image(stream, side, points, rings):
    """Rings and resolution for CIFAR-10 and ImageNet are the published ones; parameters overrule them."""
    x = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(2))
    start = Wood().start(x, (), 0.1, stream(1))

    image = Wood().render(x, start, ())

    assert start.shape == (1, 1, points, points)
    assert torch.equal(image, render(x, start, rings, 2 if side == 8 else 8))
    assert Wood(resolution=7).start(x, (), 0.1, stream(1)).shape[2] == 7
    assert torch.equal(Wood(rings=3, sharpness=4).render(x, start, ()), render(x, start, 3, 4))


class Shade(nn.Module):
    """Class 1 once the pixel in the middle of the right edge is darker than the sine of a fifth of a half turn."""

    def forward(self, x):
        score = math.sin(0.2 * math.pi) - x[:, 0, 4, 8]
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize(("share", "broken"), [(1.1, True), (0.9, False)])
def test_a_ring_is_warped_exactly_as_far_as_the_bound_allows(launch, share, broken):
    """The pixel is at distance 8/9; of 4 rings it is 3.56 rings out, and has to be moved to 3.8."""
    x, reach = torch.ones(2, 1, 9, 9), 3.8 / 4 - 8 / 9
    attack = Wood(rings=4, sharpness=1, resolution=9, n_restarts=6)  # some starts lead to 3.2, which is further

    x_adv, oracle = launch(attack, Shade(), x, torch.zeros(2, dtype=torch.int64), f"wood:{share * reach:.4f}")

    assert Shade()(x_adv).argmax(1).tolist() == [broken, broken]
    assert broken or oracle.forwards.tolist() == [6 * 71, 6 * 71]  # the last point is judged, too


def test_the_proof_renders_the_proposal_and_fills_the_bound(small_cnn, x, stream):
    """`propose` returns the warp of the very point it returns."""
    model = small_cnn(channels=3)
    y = model(render(x, torch.zeros(3, 1, 4, 4), 2, 2)).argmax(1)
    threat = ThreatModel.parse("wood:0.002")

    x_adv, proof = Wood(steps=40).propose(Oracle(Defense(model), 3), x, y, threat, stream=stream(3))

    assert Wood().violations(x, x_adv, proof, threat) == []
    assert torch.equal(render(x, proof.latent, 2, 2), x_adv)
    assert proof.latent.abs().max() == pytest.approx(0.002)


def test_a_false_proof_is_named(x, warp):
    """Too large a warp, another image, the image without rings, and other than numbers are each told."""
    attack, threat = Wood(), ThreatModel.parse("wood:0.1")
    claims = attack.violations

    too_large = claims(x, attack.render(x, 2 * warp, ()), Proof(2 * warp, ()), threat)
    other = claims(x, attack.render(x, 0.9 * warp, ()), Proof(warp, ()), threat)
    clean = claims(x, x, Proof(warp, ()), threat)
    broken = claims(x, x, Proof(warp / 0, ()), threat)
    honest = claims(x, attack.render(x, warp, ()), Proof(warp, ()), threat)

    assert "more than 0.1" in too_large[0]
    assert "differs from x_adv" in other[0]
    assert "differs from x_adv" in clean[0]
    assert "not finite" in broken[0]
    assert honest == []


def test_mistakes_are_refused(launch, small_cnn, images):
    with pytest.raises(BenchError, match="rings=-1 must be at least 0"):
        Wood(rings=-1)
    with pytest.raises(BenchError, match="Wood is not defined for glitch"):
        launch(Wood(), small_cnn(), images(1), torch.zeros(1, dtype=torch.int64), "glitch:1")


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")
def test_few_steps_break_an_undefended_model(launch):
    """On CIFAR-10, where the rings alone do not; a larger bound breaks no fewer."""
    data = load("cifar10", "test", n=24)
    model = load_defense(defense(Request("standard", {}), "cifar10", None), data.spec).model.eval()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = model(x).argmax(1) == y
    x, y = x[right], y[right]

    left = [
        (model(launch(Wood(steps=20), model, x, y, f"wood:{bound}")[0]).argmax(1) == y).float().mean().item()
        for bound in (1e-6, 0.01, 0.05)
    ]

    assert left[0] > left[1] > left[2]
    assert left[2] < 0.15
