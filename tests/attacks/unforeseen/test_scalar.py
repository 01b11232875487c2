"""Hue, saturation, brightness and contrast: one number per image, and the search for the worst of them."""

import os

import pytest
import torch
from torch import nn

from bench.attacks.unforeseen import brightness, contrast, hue, saturation
from bench.attacks.unforeseen.brightness import Brightness
from bench.attacks.unforeseen.contrast import Contrast
from bench.attacks.unforeseen.hue import Hue
from bench.attacks.unforeseen.rendered import Proof
from bench.attacks.unforeseen.saturation import Saturation
from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import load
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense

RENDERINGS = {
    "hue": hue.render,
    "saturation": saturation.render,
    "brightness": brightness.render,
    "contrast": contrast.render,
}
for_every_rendering = pytest.mark.parametrize("render", RENDERINGS.values(), ids=RENDERINGS)


def everywhere(n, *shape, seed=0):
    """Images that touch both ends of the box, with a black, a gray and a white pixel each."""
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)).mul(1.2).sub(0.1).clamp(0, 1)
    for column, value in enumerate((0.0, 0.5, 1.0)):
        x[:, :, 0, column] = value
    return x


@pytest.fixture
def x():
    return everywhere(3, 3, 9, 7)


class Ridge(nn.Module):
    """Class 1 where a function of the mean brightness is above zero; constant elsewhere in the image."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        score = self.function(x.mean((1, 2, 3)))
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.fixture
def gray():
    return torch.full((4, 1, 8, 8), 0.5), torch.zeros(4, dtype=torch.int64)


@for_every_rendering
def test_zero_is_exactly_the_identity(x, render):
    """Bit for bit, black, gray and white pixels and the ends of the box included."""
    same = render(x, torch.zeros(3, 1))

    assert torch.equal(same, x)


@for_every_rendering
def test_a_row_depends_on_its_own_variable_alone(x, render):
    """One image after the other gives the batch."""
    change = torch.tensor([[0.3], [-0.7], [0.0]])

    together = render(x, change)

    assert torch.equal(together, torch.cat([render(x[i : i + 1], change[i : i + 1]) for i in range(3)]))
    assert not torch.equal(together[0], x[0])


@for_every_rendering
def test_the_gradient_is_the_slope_of_the_image(render):
    """Central differences in float64 agree with autograd, gray pixels included."""
    x = everywhere(2, 3, 5, 4, seed=1).double()
    change = torch.tensor([[0.11], [-0.13]], dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda c: render(x, c), change)


@pytest.mark.parametrize("change", [-0.9, -0.3, 0.01, 0.5, 0.97])
def test_kornia_agrees(x, change):
    """An independent implementation, on colors of every kind."""
    enhance = pytest.importorskip("kornia").enhance
    factor = torch.full((3,), 1 + change)
    theirs = {
        "hue": enhance.adjust_hue(x, torch.full((3,), 2 * change)),
        "saturation": enhance.adjust_saturation(x, factor),
        "brightness": enhance.adjust_brightness(x, torch.full((3,), change)),
        "contrast": enhance.adjust_contrast_with_mean_subtraction(x, factor),
    }

    ours = {name: render(x, torch.full((3, 1), change)) for name, render in RENDERINGS.items() if name != "hue"}
    ours["hue"] = hue.render(x, torch.full((3, 1), 2 * change))

    for name, image in theirs.items():
        assert torch.allclose(ours[name], image.clamp(0, 1), atol=3e-6), name


@pytest.mark.parametrize("center", [-0.3, -0.17, 0.05, 0.21, 0.299])
def test_a_narrow_ridge_is_found_wherever_it_is(launch, gray, center):
    """A ridge as wide as a hundredth of the interval, with a gradient that leads to it from afar."""
    x, y = gray
    ridge = Ridge(lambda mean: 0.003 - (mean - 0.5 - center).abs())

    x_adv, oracle = launch(Brightness(), ridge, x, y, "brightness:0.3")

    assert ridge(x_adv).argmax(1).tolist() == [1, 1, 1, 1]
    assert (oracle.forwards <= 41).all()


def test_a_narrow_ridge_behind_a_broad_one_is_found(launch, gray):
    """The gradient leads to a broad peak that breaks nothing; the one that does has no slope around it."""
    x, y = gray
    trap = Ridge(
        lambda mean: torch.maximum(-0.1 - (mean - 0.7).square(), torch.where((mean - 0.31).abs() < 0.02, 1.0, -9.0))
    )

    x_adv, _ = launch(Brightness(), trap, x, y, "brightness:0.3")

    assert trap(x_adv).argmax(1).tolist() == [1, 1, 1, 1]


def test_the_ends_are_tried_first(launch, gray):
    """What only the bound itself breaks takes three queries at most."""
    x, y = gray

    for end in (0.8, 0.2):
        edge = Ridge(lambda mean, end=end: 0.001 - (mean - end).abs())
        x_adv, oracle = launch(Brightness(steps=2), edge, x, y, "brightness:0.3")
        assert edge(x_adv).argmax(1).tolist() == [1, 1, 1, 1]
        assert (oracle.forwards <= 3).all()


def test_an_unbroken_example_is_left_at_its_worst(launch, gray, stream):
    """The peak of a hill that stays below the boundary, to a thousandth, with the number that made it."""
    x, y = gray
    hill = Ridge(lambda mean: -1 - (mean - 0.637).square())
    threat = ThreatModel.parse("brightness:0.3")

    x_adv, proof = Brightness().propose(Oracle(Defense(hill), 4), x, y, threat, stream=stream(4))

    assert proof.latent.flatten().tolist() == pytest.approx([0.137] * 4, abs=1e-3)
    assert torch.equal(brightness.render(x, proof.latent), x_adv)
    assert Brightness().violations(x, x_adv, proof, threat) == []


def test_a_longer_search_only_adds_points(gray, stream):
    """The first queries of 30 are the queries of 10, example for example."""
    x, y = gray
    asked = {}
    for steps in (10, 30):
        seen = []
        hill = Ridge(lambda mean, seen=seen: seen.append(mean.detach().clone()) or -1 - (mean - 0.637).square())
        Brightness(steps=steps)(Oracle(Defense(hill), 4), x, y, ThreatModel.parse("brightness:0.3"), stream=stream(4))
        asked[steps] = torch.stack(seen)

    assert torch.equal(asked[10], asked[30][:11])
    assert len(asked[30]) == 31
    assert asked[30].unique(dim=0).shape[0] == 31


@pytest.mark.parametrize("slope", [1, -1])
def test_a_slope_beyond_the_bound_tempts_nobody(gray, stream, slope):
    """Where the best point is an end and the loss still rises there, no query leaves the interval or comes twice."""
    x, y = gray
    seen = []
    hill = Ridge(lambda mean: seen.append(mean.detach()[0].item()) or slope * (mean - 0.5) - 1)

    Brightness()(Oracle(Defense(hill), 4), x, y, ThreatModel.parse("brightness:0.3"), stream=stream(4))

    assert min(seen) == pytest.approx(0.2)
    assert max(seen) == pytest.approx(0.8)
    assert len(set(seen)) == 41


def test_restarts_look_elsewhere(gray, stream):
    """A second search asks about other points than the first, but for the ends and the image itself."""
    x, y = gray
    seen = []
    flat = Ridge(lambda mean: seen.append(mean.detach()[0].item()) or 0 * mean - 1)

    Brightness(steps=20, n_restarts=2)(
        Oracle(Defense(flat), 4), x, y, ThreatModel.parse("brightness:0.3"), stream=stream(4)
    )

    assert len(seen) == 42
    assert len(set(seen[:21]) & set(seen[21:])) <= 3 + 9  # the ends, the image, and climbs from the image


def test_a_false_proof_is_named(x):
    """A number beyond the bound, another image, and a number that is none are each told."""
    threat, change = ThreatModel.parse("hue:0.5"), torch.full((3, 1), 0.4)
    claims = Hue().violations

    too_far = claims(x, hue.render(x, change + 0.2), Proof(change + 0.2, ()), threat)
    other = claims(x, hue.render(x, change + 0.01), Proof(change, ()), threat)
    broken = claims(x, x, Proof(change * float("nan"), ()), threat)
    honest = claims(x, hue.render(x, change), Proof(change, ()), threat)

    assert "size 0.6, more than 0.5" in too_far[0]
    assert "differs from x_adv" in other[0]
    assert "not finite" in broken[0]
    assert honest == []


def test_an_optimizer_and_another_family_are_refused(launch, gray):
    """There is nothing for Adam to do on a line."""
    with pytest.raises(BenchError, match="optimizer='adam' has no use on a line"):
        Contrast(optimizer="adam")
    with pytest.raises(BenchError, match="Saturation is not defined for hue"):
        launch(Saturation(), Ridge(torch.sin), *gray, "hue:0.1")


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")
@pytest.mark.parametrize(
    ("attack", "bound"),
    [(Hue(), 3.0), (Saturation(), 1.0), (Brightness(), 0.3), (Contrast(), 0.8)],
    ids=["hue", "saturation", "brightness", "contrast"],
)
def test_no_exhaustive_search_finds_more(launch, attack, bound):
    """On CIFAR-10, 51 numbers spread over the whole interval break no more examples."""
    data = load("cifar10", "test", n=16)
    model = load_defense(defense(Request("standard", {}), "cifar10", None), data.spec).model.eval()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = model(x).argmax(1) == y
    x, y = x[right], y[right]

    x_adv, _ = launch(attack, model, x, y, f"{attack.family}:{bound}")

    survives = torch.ones(len(x), dtype=torch.bool)
    with torch.no_grad():
        for value in torch.linspace(-bound, bound, 51).tolist():
            image = attack.render(x, torch.full((len(x), 1), value), ())
            survives &= model(image).argmax(1) == y
        left = (model(x_adv).argmax(1) == y).sum()
    assert left <= survives.sum()
    assert left < 0.9 * len(x)
