import os

import pytest
import torch
from torch import nn

from bench.attacks.unforeseen.kaleidoscope import Kaleidoscope, render
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
    return torch.rand(3, 3, 32, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def scene(x, stream):
    return Kaleidoscope().scene(x, stream(3))


@pytest.fixture
def latent(x, scene, stream):
    return Kaleidoscope().start(x, scene, 0.1, stream(3))


def test_what_no_shape_covers_is_the_image(x, scene, latent):
    """Bit for bit; everything else is changed by the shapes."""
    top, outline = scene[:2]
    free = ((top < 0) & ~outline)[:, None].expand_as(x)

    image = render(x, latent, scene)

    assert torch.equal(image[free], x[free])
    assert 0.3 < free.float().mean() < 0.95


def test_shapes_show_their_color_and_a_fifth_of_the_image(x, scene):
    """Without variables: the color of the topmost shape, cut off at 1; outlines are black."""
    top, outline, colors, _ = scene
    zero = torch.zeros(3, 5 * 3 + 32 * 24)

    image = render(x, zero, scene)

    for row in range(3):
        for number in range(5):
            inside = (top[row] == number) & ~outline[row]
            expected = (0.2 * x[row][:, inside] + colors[row, number, :, None]).clamp(0, 1)
            assert torch.allclose(image[row][:, inside], expected)
        assert (image[row][:, outline[row]] == 0).all()


def test_a_variable_tints_its_shape_and_its_channel_alone(x, scene):
    """The first `shapes * C` variables are colors, the others the pixels of the outlines, row by row."""
    top, outline, _, _ = scene
    zero = torch.zeros(3, 5 * 3 + 32 * 24)
    tint, light = zero.clone(), zero.clone()
    tint[1, 3 * 3 + 2] = -0.1
    row, column = outline[1].nonzero()[0].tolist()
    light[1, 15 + 24 * row + column] = 0.07
    light[1, 15 + int((~outline[1]).flatten().nonzero()[0])] = 0.07

    before, tinted, lit = (render(x, latent, scene) for latent in (zero, tint, light))

    changed = tinted != before
    assert changed.any()
    assert not changed[[0, 2]].any()
    assert not changed[1, :2].any()
    assert (top[1][changed[1, 2]] == 3).all()
    assert (before - tinted).max() == pytest.approx(0.1)
    assert (lit != before).nonzero().tolist() == [[1, channel, row, column] for channel in range(3)]
    assert lit[1, :, row, column].tolist() == pytest.approx([0.07] * 3)


def test_colors_are_vivid_and_shapes_are_of_three_kinds(stream):
    """Saturation from 0.7 and value from 0.8 on; circles, triangles and squares with the same inscribed circle."""
    attack, x = Kaleidoscope(shapes=1), torch.zeros(300, 3, 32, 32)

    top, outline, colors, seen = attack.scene(x, stream(300))

    value, least = colors.amax(2), colors.amin(2)
    assert value.min() >= 0.8
    assert ((value - least) / value).min() >= 0.7
    assert colors.std(0).min() > 0.2
    assert seen.unique().tolist() == pytest.approx([0.2])
    whole = ~(outline[:, [0, -1]].any((1, 2)) | outline[:, :, [0, -1]].any((1, 2)))
    area = (top >= 0).sum((1, 2))[whole].float()  # a circle has 12.6 pixels, a square 16, a triangle 20.8
    for low, high in ((10, 14.5), (14.5, 18), (18, 24)):
        share = ((area > low) & (area < high)).float().mean()
        assert 0.2 < share < 0.5, (low, high)
    assert area.min() >= 9


def test_the_last_shape_lies_on_top(stream):
    """Of ten shapes the last keeps its whole area, and the first is partly hidden."""
    x = torch.zeros(300, 1, 20, 20)

    crowd = Kaleidoscope(shapes=10).scene(x, stream(300))[0]
    alone = Kaleidoscope(shapes=1).scene(x, stream(300))[0]

    area = (alone == 0).sum().item()
    assert (crowd == 9).sum().item() == pytest.approx(area, rel=0.1)
    assert (crowd == 0).sum().item() < 0.85 * area


def test_outlines_are_two_pixels_around_a_shape(stream):
    """The square of pixels up to two away from a shape, without the shape."""
    top, outline, _, _ = Kaleidoscope(shapes=1).scene(torch.zeros(20, 1, 32, 32), stream(20))

    for row in range(20):
        inside = (top[row] >= 0).nonzero()
        near = torch.cartesian_prod(torch.arange(32), torch.arange(32)).view(32, 32, 2)
        gap = (near[:, :, None] - inside).abs().amax(3).amin(2)
        assert torch.equal(outline[row], (gap > 0) & (gap <= 2))


def test_every_example_has_shapes_of_its_own_and_every_restart_others(x, stream):
    """And an example has the same ones in any batch."""
    attack, keys = Kaleidoscope(), stream(3)

    together = attack.scene(x, keys)
    apart = [attack.scene(x[i : i + 1], keys.rows(torch.tensor([i]))) for i in range(3)]
    again = attack.scene(x, keys.at("another"))

    for number, part in enumerate(together):
        assert torch.equal(part, torch.cat([each[number] for each in apart]))
    assert not torch.equal(together[0][0], together[0][1])
    assert not torch.equal(together[0], again[0])


@pytest.mark.parametrize(("shape", "count"), [((1, 8, 8), 2), ((2, 16, 30), 2), ((3, 32, 48), 5), ((3, 224, 230), 40)])
def test_shapes_fit_the_image(stream, shape, count):
    """5 and 40 shapes are the published numbers; gray images get light shapes."""
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))

    scene = Kaleidoscope().scene(x, stream(2))
    start = Kaleidoscope().start(x, scene, 0.1, stream(2))

    assert scene[2].shape == (2, count, shape[0])
    assert scene[2].amax(2).min() >= 0.8
    assert start.shape == (2, count * shape[0] + shape[1] * shape[2])
    assert render(x, start, scene).shape == x.shape
    assert Kaleidoscope(shapes=3).scene(x, stream(2))[2].shape[1] == 3


def test_the_gradient_is_the_slope_of_the_image(stream):
    """Central differences in float64 agree with autograd."""
    x = 0.2 + 0.3 * torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    scene = Kaleidoscope().scene(x, stream(2))
    top, outline, colors, seen = scene
    latent = torch.full((2, 2 * 3 + 64), 0.05, dtype=torch.float64, requires_grad=True)
    scene = top, outline, 0.5 * colors, seen  # no color is cut off

    assert torch.autograd.gradcheck(lambda v: render(x, v, scene), latent)


class Tone(nn.Module):
    """Class 1 once the reddest pixel of before has less red by more than a number."""

    def __init__(self, before, change):
        super().__init__()
        self.before, self.change = before, change

    def forward(self, x):
        where = self.before.argmax()
        score = self.before.flatten()[where] - x[:, 0].flatten(1)[:, where] - self.change
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize(("bound", "broken"), [(0.11, 1), (0.09, 0)])
def test_a_color_changes_exactly_as_far_as_the_bound_allows(launch, stream, bound, broken):
    """Red can be taken from a shape up to the bound."""
    x = torch.zeros(1, 3, 32, 32)
    attack = Kaleidoscope(n_restarts=1)
    scene = attack.scene(x, stream(1).at("start", 0))
    before = render(x, torch.zeros(1, 5 * 3 + 32 * 32), scene)[:, 0]
    model = Tone(before, 0.1)

    x_adv, oracle = launch(attack, model, x, torch.zeros(1, dtype=torch.int64), f"kaleidoscope:{bound}")

    assert before.max() > 0.2
    assert model(x_adv).argmax(1).item() == broken
    assert broken or oracle.forwards.item() == 21  # the last point is judged, too


def test_the_proof_renders_the_proposal_and_fills_the_bound(small_cnn, x, stream):
    """`propose` returns variables and shapes of the very point it returns, of whichever restart."""
    model = small_cnn(channels=3)
    y = torch.full((3,), int(model(x).mean(0).argmax()))
    threat, attack = ThreatModel.parse("kaleidoscope:0.01"), Kaleidoscope(steps=15, n_restarts=3)

    x_adv, proof = attack.propose(Oracle(Defense(model), 3), x, y, threat, stream=stream(3))

    assert attack.violations(x, x_adv, proof, threat) == []
    assert torch.equal(render(x, proof.latent, proof.scene), x_adv)
    assert proof.latent.abs().max() == pytest.approx(0.01)


def test_a_false_proof_is_named(x, scene, latent, stream):
    """Too large a change, another image, other shapes, and other than numbers are each told."""
    claims, threat = Kaleidoscope().violations, ThreatModel.parse("kaleidoscope:0.1")
    x_adv = render(x, latent, scene)

    too_large = claims(x, render(x, 2 * latent, scene), Proof(2 * latent, scene), threat)
    other = claims(x, render(x, 0.5 * latent, scene), Proof(latent, scene), threat)
    elsewhere = claims(x, x_adv, Proof(latent, Kaleidoscope().scene(x, stream(3, "other"))), threat)
    broken = claims(x, x_adv, Proof(latent / 0, scene), threat)
    honest = claims(x, x_adv, Proof(latent, scene), threat)

    assert "more than 0.1" in too_large[0]
    assert "differs from x_adv" in other[0]
    assert "differs from x_adv" in elsewhere[0]
    assert "not finite" in broken[0]
    assert honest == []


def test_mistakes_are_refused(launch, small_cnn, images):
    with pytest.raises(BenchError, match="shapes=-1 must be at least 0"):
        Kaleidoscope(shapes=-1)
    with pytest.raises(BenchError, match="Kaleidoscope is not defined for wood"):
        launch(Kaleidoscope(), small_cnn(), images(1), torch.zeros(1, dtype=torch.int64), "wood:1")


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")
def test_few_steps_break_an_undefended_model(launch):
    """On CIFAR-10, where the shapes alone do not; a larger bound breaks no fewer."""
    data = load("cifar10", "test", n=24)
    model = load_defense(defense(Request("standard", {}), "cifar10", None), data.spec).model.eval()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = model(x).argmax(1) == y
    x, y = x[right], y[right]
    attack = Kaleidoscope(steps=8, n_restarts=3)

    left = [
        (model(launch(attack, model, x, y, f"kaleidoscope:{bound}")[0]).argmax(1) == y).float().mean().item()
        for bound in (1e-6, 0.1)
    ]

    assert left[0] > left[1]
    assert left[1] < 0.15
