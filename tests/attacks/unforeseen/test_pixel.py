import os

import pytest
import torch
from torch import nn

from bench.attacks.unforeseen.pixel import Pixel, render
from bench.attacks.unforeseen.rendered import Proof
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
    return torch.rand(3, 3, 12, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weight():
    return torch.rand(3, 3, 3, 2, generator=torch.Generator().manual_seed(1))


def test_zero_weights_are_exactly_the_identity(x):
    """Bit for bit."""
    assert torch.equal(render(x, torch.zeros(3, 3, 3, 2), 4), x)


def test_a_weight_of_one_makes_its_block_one_color_and_no_other(x):
    """The mean of the block, in its channel alone."""
    weight = torch.zeros(3, 3, 3, 2)
    weight[1, 2, 2, 0] = 1

    changed = render(x, weight, 4)

    expected = x.clone()
    expected[1, 2, 8:12, 0:4] = x[1, 2, 8:12, 0:4].mean()
    assert torch.allclose(changed, expected, atol=1e-6)
    assert torch.equal(changed[0], x[0])


def test_between_zero_and_one_a_block_is_blended(x, weight):
    """Linear in the weight; the mean of every block stays."""
    quarter, whole = render(x, 0.25 * torch.ones_like(weight), 4), render(x, torch.ones_like(weight), 4)

    assert torch.allclose(quarter, 0.75 * x + 0.25 * whole, atol=1e-6)
    pool = nn.AvgPool2d(4)
    assert torch.allclose(pool(render(x, weight, 4)), pool(x), atol=1e-6)


def test_blocks_at_the_edge_may_be_smaller():
    """A 7 x 5 image has 2 x 2 blocks of 4; the last is 3 x 1 pixels, and its color is their mean."""
    x = torch.rand(1, 1, 7, 5, generator=torch.Generator().manual_seed(2))

    gone = render(x, torch.ones(1, 1, 2, 2), 4)

    assert torch.allclose(gone[..., 4:, 4], x[..., 4:, 4].mean().expand(1, 1, 3), atol=1e-6)
    assert torch.allclose(gone[..., :4, :4], x[..., :4, :4].mean().expand(1, 1, 4, 4), atol=1e-6)


def test_a_row_depends_on_its_own_weights_alone(x, weight):
    together = render(x, weight, 4)

    assert torch.equal(together, torch.cat([render(x[i : i + 1], weight[i : i + 1], 4) for i in range(3)]))


def test_the_gradient_is_the_slope_of_the_image(x, weight):
    """Central differences in float64 agree with autograd."""
    image, blocks = x[:2, :1, :7, :5].double(), weight[:2, :1, :2].double()

    assert torch.autograd.gradcheck(lambda w: render(image, w, 4), blocks.requires_grad_())


@pytest.mark.parametrize(("shape", "blocks"), [((1, 8, 8), (2, 2)), ((3, 32, 48), (8, 12)), ((3, 70, 230), (5, 15))])
def test_blocks_fit_the_image(stream, shape, blocks):
    """4 pixels a side up to 64 pixels, 16 beyond."""
    start = Pixel().start(torch.rand(2, *shape), (), 100.0, stream(2))

    assert start.shape == (2, shape[0], *blocks)
    assert Pixel(block=3).start(torch.rand(2, *shape), (), 1.0, stream(2)).shape[2] == -(-shape[1] // 3)


def test_weights_are_kept_between_zero_and_one_and_in_the_ball():
    """Negative weights would sharpen, and weights above one would turn a block inside out."""
    wild = 4 * torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(3))

    kept = Pixel().within(wild, 2.0)
    free = Pixel().within(wild, 100.0)

    assert kept.min() >= 0
    assert kept.flatten(1).norm(dim=1).tolist() == pytest.approx([2.0] * 5)
    assert torch.equal(free, wild.clamp(0, 1))


class Detail(nn.Module):
    """Class 0 while the upper left block has more contrast than a tenth."""

    def forward(self, x):
        score = 0.1 - x[:, :, :4, :4].flatten(1).std(1)
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize(("bound", "broken"), [(0.65, True), (0.55, False)])
def test_the_bound_is_spent_on_the_block_that_matters(launch, bound, broken):
    """A contrast of a quarter falls to a tenth at a weight of 0.6, whatever becomes of the other three blocks."""
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    block = x[:, :, :4, :4]
    mean, spread = block.mean((2, 3), keepdim=True), block.flatten(1).std(1).view(-1, 1, 1, 1)
    x[:, :, :4, :4] = 0.5 + 0.25 * (block - mean) / spread
    y = torch.zeros(2, dtype=torch.int64)

    x_adv, oracle = launch(Pixel(), Detail(), x, y, f"pixel:{bound}")

    assert (x[:, :, :4, :4] > 0).all()
    assert Detail()(x_adv).argmax(1).tolist() == [broken, broken]
    assert broken or oracle.forwards.tolist() == [61, 61]  # the last point is judged, too


def test_the_proof_renders_the_proposal_and_fills_the_bound(small_cnn, x, stream):
    """`propose` returns the weights of the very point it returns."""
    model = small_cnn(channels=3)
    y = model(x).argmax(1)
    threat = ThreatModel.parse("pixel:0.1")

    x_adv, proof = Pixel(steps=20).propose(Oracle(Defense(model), 3), x, y, threat, stream=stream(3))

    assert Pixel().violations(x, x_adv, proof, threat) == []
    assert torch.allclose(render(x, proof.latent, 4), x_adv, atol=1e-6)
    assert proof.latent.flatten(1).norm(dim=1).max() == pytest.approx(0.1, rel=1e-5)


def test_a_false_proof_is_named(x, weight):
    """Too large a norm, weights outside [0, 1], another image, and other than numbers are each told."""
    claims, whole, half = Pixel().violations, torch.ones(3, 3, 3, 2), 0.5 * torch.ones(3, 3, 3, 2)
    threat = ThreatModel.parse("pixel:4")

    too_large = claims(x, render(x, whole, 4), Proof(whole, ()), threat)
    negative = claims(x, render(x, -half, 4), Proof(-half, ()), threat)
    beyond = torch.zeros_like(whole)
    beyond[0, 0, 0, 0] = 2
    above = claims(x, render(x, beyond, 4), Proof(beyond, ()), threat)
    other = claims(x, render(x, 0.9 * half, 4), Proof(half, ()), threat)
    broken = claims(x, x, Proof(weight / 0, ()), threat)
    honest = claims(x, render(x, half, 4), Proof(half, ()), threat)

    assert "size 4.24" in too_large[0]
    assert negative == above == ["the pixel variables leave [0, 1]"]
    assert "differs from x_adv" in other[0]
    assert "not finite" in broken[0]
    assert honest == []


def test_mistakes_are_refused(launch, small_cnn, images):
    with pytest.raises(BenchError, match="block=-1 must be at least 0"):
        Pixel(block=-1)
    with pytest.raises(BenchError, match="Pixel is not defined for L2"):
        launch(Pixel(), small_cnn(), images(1), torch.zeros(1, dtype=torch.int64), "L2:1")


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")
def test_ten_steps_break_an_undefended_model(launch):
    """On CIFAR-10; a larger bound breaks no fewer."""
    data = load("cifar10", "test", n=24)
    model = load_defense(defense(Request("standard", {}), "cifar10", None), data.spec).model.eval()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = model(x).argmax(1) == y
    x, y = x[right], y[right]

    left = [
        (model(launch(Pixel(steps=10), model, x, y, f"pixel:{bound}")[0]).argmax(1) == y).float().mean().item()
        for bound in (1, 5)
    ]

    assert left[0] > left[1]
    assert left[1] < 0.1
