import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.attacks.unforeseen.glitch import Glitch, render
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
    return torch.rand(3, 3, 9, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def shift():
    return 0.8 * torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(1)) - 0.4


def test_no_shift_is_exactly_the_identity(x):
    """Bit for bit."""
    assert torch.equal(render(x, torch.zeros(3, 3, 3)), x)


def test_one_shift_moves_one_line_of_one_channel(x):
    """By whole pixels: 2 is the width of the image, and a line of three rows is all that moves."""
    shift = torch.zeros(3, 3, 3)
    shift[1, 2, 1] = 3 * 2 / 8

    moved = render(x, shift)

    expected = x.clone()
    expected[1, 2, 3:6, :5] = x[1, 2, 3:6, 3:]
    expected[1, 2, 3:6, 5:] = x[1, 2, 3:6, 5:].flip(1)
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("pixels", [-9, -3, 2, 11])
def test_beyond_the_edge_is_the_mirror_image(x, pixels):
    """As in a tiling of the plane by the image and its mirror image."""
    tiles = torch.cat([x.flip(3), x, x.flip(3), x], 3)

    moved = render(x, torch.full((3, 3, 3), pixels * 2 / 8))

    start = 8 + pixels if pixels >= -8 else 24 + pixels
    wrapped = torch.cat([tiles, tiles], 3)
    assert torch.equal(moved, wrapped[..., start : start + 8])


def test_torch_interpolates_the_same_way(x, shift):
    """An independent implementation: `grid_sample` with reflection, channel by channel."""
    across, down = (2 * torch.arange(8.0) + 1) / 8 - 1, (2 * torch.arange(9.0) + 1) / 9 - 1
    expected = torch.empty_like(x)
    for channel in range(3):
        place = across + shift[:, channel].repeat_interleave(3, 1)[..., None]
        grid = torch.stack([place, down[:, None].expand_as(place)], 3)
        one = x[:, channel : channel + 1]
        expected[:, channel : channel + 1] = F.grid_sample(one, grid, padding_mode="reflection", align_corners=False)

    moved = render(x, shift)

    assert torch.allclose(moved, expected, atol=1e-5)


def test_lines_share_the_height_as_evenly_as_it_goes():
    """Four lines of nine rows: three, two, two and two."""
    x = torch.zeros(1, 1, 9, 8)
    x[..., 4] = 1
    shift = torch.tensor([0, 1, 2, 3]).view(1, 1, 4) * -2 / 8

    moved = render(x, shift)

    assert moved[0, 0].argmax(1).tolist() == [4, 4, 4, 5, 5, 6, 6, 7, 7]


def test_a_row_depends_on_its_own_shifts_alone(x, shift):
    together = render(x, shift)

    assert torch.equal(together, torch.cat([render(x[i : i + 1], shift[i : i + 1]) for i in range(3)]))


def test_the_gradient_is_the_slope_of_the_image(x, shift):
    """Central differences in float64 agree with autograd."""
    image, lines = x[:2, :1, :, :4].double(), shift[:2, :1].double()

    assert torch.autograd.gradcheck(lambda s: render(image, s), lines.requires_grad_())


@pytest.mark.parametrize(("height", "lines"), [(8, 8), (15, 8), (32, 16), (64, 16), (65, 56), (224, 56)])
def test_lines_fit_the_image(stream, height, lines):
    """16 and 56 are the published numbers; no image has more lines than rows."""
    x = torch.rand(1, 1, height, height)

    start = Glitch().start(x, (), 0.1, stream(1))

    assert start.shape == (1, 1, lines)
    assert start.abs().max() <= 0.1
    assert Glitch(lines=99).start(x, (), 0.1, stream(1)).shape[2] == min(99, height)


class Bright(nn.Module):
    """Class 1 once column 2 of rows 2 and 3 is more than half bright."""

    def forward(self, x):
        score = x[:, :, 2:4, 2].flatten(1).amin(1) - 0.5
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize(("bound", "broken"), [(0.38, True), (0.37, False)])
def test_a_ramp_slips_exactly_as_far_as_the_bound_allows(launch, bound, broken):
    """A ramp from 0 to 1 is half bright 1.5 pixels, which are 0.375, to the right of column 2."""
    x = ((torch.arange(8.0) + 0.5) / 8).expand(2, 1, 8, 8).contiguous()

    x_adv, oracle = launch(Glitch(), Bright(), x, torch.zeros(2, dtype=torch.int64), f"glitch:{bound}")

    assert Bright()(x_adv).argmax(1).tolist() == [broken, broken]
    assert broken or oracle.forwards.tolist() == [61, 61]  # the last point is judged, too


def test_the_proof_renders_the_proposal_and_fills_the_bound(small_cnn, x, stream):
    """`propose` returns the shifts of the very point it returns."""
    model = small_cnn(channels=3)
    y = model(x).argmax(1)
    threat = ThreatModel.parse("glitch:0.02")

    x_adv, proof = Glitch(steps=30).propose(Oracle(Defense(model), 3), x, y, threat, stream=stream(3))

    assert Glitch().violations(x, x_adv, proof, threat) == []
    assert torch.equal(render(x, proof.latent), x_adv)
    assert proof.latent.abs().max() == pytest.approx(0.02)


def test_a_false_proof_is_named(x, shift):
    """Too far a shift, another image, and other than numbers are each told."""
    claims, threat = Glitch().violations, ThreatModel.parse("glitch:0.4")

    too_far = claims(x, render(x, 2 * shift), Proof(2 * shift, ()), threat)
    other = claims(x, render(x, 0.9 * shift), Proof(shift, ()), threat)
    broken = claims(x, x, Proof(shift / 0, ()), threat)
    honest = claims(x, render(x, shift), Proof(shift, ()), threat)

    assert "more than 0.4" in too_far[0]
    assert "differs from x_adv" in other[0]
    assert "not finite" in broken[0]
    assert honest == []


def test_mistakes_are_refused(launch, small_cnn, images):
    with pytest.raises(BenchError, match="lines=-1 must be at least 0"):
        Glitch(lines=-1)
    with pytest.raises(BenchError, match="Glitch is not defined for pixel"):
        launch(Glitch(), small_cnn(), images(1), torch.zeros(1, dtype=torch.int64), "pixel:1")


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")
def test_few_steps_break_an_undefended_model(launch):
    """On CIFAR-10; a larger bound breaks no fewer, nor do more steps."""
    data = load("cifar10", "test", n=24)
    model = load_defense(defense(Request("standard", {}), "cifar10", None), data.spec).model.eval()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = model(x).argmax(1) == y
    x, y = x[right], y[right]

    left = [
        (model(launch(Glitch(steps=steps), model, x, y, f"glitch:{bound}")[0]).argmax(1) == y).float().mean().item()
        for bound, steps in ((0.02, 15), (0.1, 1), (0.1, 15))
    ]

    assert left[0] > left[2]
    assert left[1] > left[2]
    assert left[2] < 0.15
