"""The perceptual distance, and the attacks within it."""

import math

import pytest
import torch

from bench.attacks.perceptual.ball import Ball, DistanceProof, distance, flatten
from bench.attacks.perceptual.lpa import LPA
from bench.attacks.perceptual.ppgd import PPGD
from bench.catalogue import ATTACKS
from bench.catalogue.loading import load_defense
from bench.catalogue.registry import load
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.oracle.activations import Features
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense
from tests.attacks.perceptual.angle import Angle, Brightness, Noisy

ATTACKS_HERE = pytest.mark.parametrize("attack", [PPGD(), LPA(steps=20)], ids=["ppgd", "lpa"])


@pytest.fixture
def attack_on(stream):
    """Run an attack on a defense; returns `x_adv`, the proof and the oracle."""

    def run(attack, subject, x, y, threat):
        oracle = Oracle(subject, len(x), scope=("test",))
        x_adv, proof = attack.propose(oracle, x, y, ThreatModel.parse(threat), stream=stream(len(x)))
        return x_adv, proof, oracle

    return run


def test_the_distance_is_its_formula(small_cnn, images):
    """Place by place and layer by layer, in plain loops over the two rectified activations."""
    network, x = small_cnn(), images(3)
    y = (x + 0.1 * torch.rand_like(x)).clamp(0, 1)
    total = torch.zeros(3, dtype=torch.float64)
    for end in (2, 4):
        one, other = network[:end](x).double(), network[:end](y).double()
        height, width = one.shape[2:]
        for i in range(height):
            for j in range(width):
                a, b = one[:, :, i, j], other[:, :, i, j]
                a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
                total += (a - b).square().sum(1) / (height * width)

    # The pooling gives 2 x 2, as the last convolution does, and comes after it.
    found = distance(Features(network[:4]), x, y)

    assert torch.allclose(found, total.sqrt(), rtol=1e-4)
    assert found.min() > 0.01


def test_the_distance_of_known_angles_is_known():
    """A pixel of brightness p is a direction of atan(p): two of them are a chord apart."""
    x, y = torch.full((1, 1, 4, 4), 0.2), torch.full((1, 1, 4, 4), 0.2)
    y[0, 0, 1, 2] = 0.9

    found = distance(Features(Brightness(1)), x, y)

    chord = 2 * math.sin((math.atan(0.9) - math.atan(0.2)) / 2)
    assert found.item() == pytest.approx(chord / 4, rel=1e-5)


def test_the_scale_of_a_layer_does_not_matter(small_cnn, images):
    """Activations a thousand times as large are as far apart."""
    network, x = small_cnn()[:2], images(3)
    larger = small_cnn()[:2]
    larger[0].weight.data *= 1000
    larger[0].bias.data *= 1000
    y = x.flip(0)

    assert torch.allclose(distance(Features(network), x, y), distance(Features(larger), x, y), rtol=1e-3)


def test_the_distance_of_a_row_does_not_depend_on_the_batch(small_cnn, images):
    network, x = Features(small_cnn()), images(5)
    y = x.flip(0)

    whole = distance(network, x, y)

    apart = torch.cat([distance(network, x[i : i + 1], y[i : i + 1]) for i in range(5)])
    assert torch.allclose(whole, apart, atol=1e-6)


def test_places_without_any_activation_have_finite_slopes():
    """A root has no slope at zero; normalizing must not make one up."""
    layer = torch.zeros(2, 3, 4, 4, requires_grad=True)

    (grad,) = torch.autograd.grad(flatten([layer]).square().sum(), layer)

    assert torch.equal(grad, torch.zeros_like(layer))


@pytest.fixture
def ball(stream):
    """A ball around images, measured by a network."""

    def build(network, x, eps):
        oracle = Oracle(Defense(network), len(x))
        return Ball(oracle, Features(network), x, eps), oracle

    return build


def test_the_slope_of_the_distance_is_finite_at_the_image_itself(ball, small_cnn, images):
    x = images(3)
    around, _ = ball(small_cnn(), x, 0.5)
    point = x.clone().requires_grad_()

    (grad,) = torch.autograd.grad(
        around.apart(around.activations(point, torch.arange(3)), torch.arange(3)).sum(), point
    )

    assert torch.equal(grad, torch.zeros_like(x))


def test_a_projection_is_on_the_way_and_just_within_the_bound(ball, small_cnn, images):
    """On the segment to the image, measured to be inside, hardly shorter than allowed; inner points stay."""
    x = images(6)
    around, oracle = ball(small_cnn(), x, 0.2)
    rows = torch.arange(6)
    points = (x + 0.6 * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(5)) - 1)).clamp(0, 1)
    points[0] = x[0] + 1e-3
    before, spent = around.distance(points, rows), oracle.forwards.clone()

    inner = around.project(points, x, rows, 5)

    far = distance(Features(small_cnn()), x, inner)
    assert (before[1:] > 0.3).all()
    assert (oracle.forwards - spent).tolist() == [5] * 6
    assert torch.equal(inner[0], points[0])
    assert (far[1:] <= 0.2).all()
    assert (far[1:] > 0.95 * 0.2).all()
    share = ((inner - x) / (points - x))[1:].flatten(1)
    assert (share.amax(1) - share.amin(1)).max() < 1e-3


@pytest.mark.parametrize("eps", [0.1, 0.3, 0.5])
def test_a_projection_finds_the_bound_where_the_distance_levels_off(ball, eps):
    """From 0.1 to 1 the direction of (p, 0.1) turns at the very beginning; eight looks are enough."""
    network = Brightness(1)
    network.see.pair.bias.data = torch.tensor([0.0, 0.1])
    x, rows = torch.full((1, 1, 4, 4), 0.1), torch.zeros(1, dtype=torch.int64)
    around, _ = ball(network, x, eps)

    inner = around.project(torch.ones_like(x), x, rows, 8)

    assert 0.97 * eps < distance(Features(network), x, inner).item() <= eps


def test_a_projection_that_finds_nothing_keeps_what_is_held(ball, small_cnn, images):
    """One look at a point outside says no more than that it is outside."""
    x = images(3)
    around, _ = ball(small_cnn(), x, 0.2)
    points, held = 1 - x.round(), x + 0.01

    inner = around.project(points, held, torch.arange(3), 1)

    assert torch.equal(inner, held)


@ATTACKS_HERE
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_boundary_within_the_ball_is_reached_and_one_beyond_is_not(attack_on, attack, scale):
    """How bright an image can become within the distance is known, whatever the scale of the logits."""
    x, y = torch.full((2, 1, 4, 4), 0.3), torch.zeros(2, dtype=torch.int64)
    gain = Angle.reach(0.3, 0.15) - 0.3
    inside, beyond = Brightness(0.3 + 0.97 * gain, scale), Brightness(0.3 + 1.02 * gain, scale)

    broken, proof, _ = attack_on(attack, Defense(inside), x, y, "lpips:0.15")
    robust, other, oracle = attack_on(attack, Defense(beyond), x, y, "lpips:0.15")

    assert inside(broken).argmax(1).tolist() == [1, 1]
    assert beyond(robust).argmax(1).tolist() == [0, 0]
    assert attack.violations(x, broken, proof, ThreatModel.parse("lpips:0.15")) == []
    assert attack.violations(x, robust, other, ThreatModel.parse("lpips:0.15")) == []
    assert oracle.broken.sum() == 0


@pytest.mark.parametrize("name", ["ppgd", "lpa"])
def test_the_published_cost_is_exact(attack_on, name):
    """Two examples that never break cost what the catalogue says, to the pass."""
    entry = ATTACKS.get(name)
    x, y = torch.full((2, 1, 4, 4), 0.3), torch.zeros(2, dtype=torch.int64)

    _, _, oracle = attack_on(load(entry.target)(**entry.config), Defense(Brightness(0.9)), x, y, "lpips:0.1")

    assert oracle.forwards.tolist() == [entry.forwards] * 2
    assert oracle.backwards.tolist() == [entry.backwards] * 2


@ATTACKS_HERE
@pytest.mark.parametrize("eps", ["0.001", "0.1", "0.4"])
def test_no_proposal_leaves_the_ball(attack_on, small_cnn, attack, eps):
    """Images at the edges of the box, sizes from tiny to large; the ball is made use of; nothing else changes."""
    x = torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(1)).mul(1.4).sub(0.2).clamp(0, 1)
    network, before = small_cnn(channels=3), x.clone()
    y = network(x).argmax(1)

    x_adv, proof, _ = attack_on(attack, Defense(network), x, y, f"lpips:{eps}")

    far = distance(proof.network, x, x_adv)
    assert attack.violations(x, x_adv, proof, ThreatModel.parse(f"lpips:{eps}")) == []
    assert far.max() <= float(eps) * (1 + 1e-4)
    assert far.max() > 0.9 * float(eps) or (network(x_adv).argmax(1) != y).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert torch.equal(x, before)


def test_a_false_claim_is_named(small_cnn, images):
    """Further than the bound, by one example of three, and an image that is no number."""
    network, x, threat = Features(small_cnn()), images(3), ThreatModel.parse("lpips:0.1")
    far = x.clone()
    far[1] = 1 - far[1].round()

    beyond = LPA().violations(x, far, DistanceProof(network), threat)
    no_number = PPGD().violations(x, x * float("nan"), DistanceProof(network), threat)
    honest = LPA().violations(x, x, DistanceProof(network), threat)

    assert beyond[0].startswith("1 of 3 examples are beyond lpips:0.1: the largest distance is 0.")
    assert len(no_number) == 1
    assert honest == []


def test_what_the_verifier_grants_is_a_ten_thousandth():
    """A turn by 1.00005 times the bound is rounding, one by 1.0003 times is not."""
    x, threat = torch.full((1, 1, 4, 4), 0.3), ThreatModel.parse("lpips:0.2")
    near, far = (x + Angle.reach(0.3, 0.2 * factor) - 0.3 for factor in (1.00005, 1.0003))

    claims = [LPA().violations(x, point, DistanceProof(Features(Brightness(1))), threat) for point in (near, far)]

    assert claims[0] == []
    assert len(claims[1]) == 1


@ATTACKS_HERE
def test_robust_accuracy_falls_with_the_bound(attack_on, robust_digits, attack):
    model, x, y = robust_digits
    x, y = x[:24], y[:24]

    left = [
        int((model(attack_on(attack, Defense(model), x, y, f"lpips:{eps}")[0]).argmax(1) == y).sum())
        for eps in ("0.1", "0.3", "0.6")
    ]

    assert left[0] > left[1] > left[2]


@pytest.fixture(scope="module")
def undefended():
    """The shipped network for digits and 64 images it gets right."""
    data = digits("test")
    model = load_defense(defense(Request("standard", {}), "digits", None), data.spec).model.eval()
    x, y = torch.from_numpy(data.x[:64]), torch.from_numpy(data.y[:64])
    right = model(x).argmax(1) == y
    return model, x[right], y[right]


@pytest.mark.parametrize("name", ["ppgd", "lpa"])
def test_an_undefended_network_falls_below_a_tenth(attack_on, undefended, name):
    """The digits at their usual bound, as the catalogue attacks them."""
    entry, (model, x, y) = ATTACKS.get(name), undefended

    x_adv, proof, _ = attack_on(load(entry.target)(**entry.config), Defense(model), x, y, "lpips:0.8")

    assert (model(x_adv).argmax(1) == y).sum() < 6.4
    assert distance(proof.network, x, x_adv).max() <= 0.8


@ATTACKS_HERE
def test_a_purifier_is_measured_by_its_classifier(attack_on, attack):
    """Which sees the image without the purifier and without its noise; the whole defense is what must break."""
    x, y = torch.full((2, 1, 4, 4), 0.3), torch.zeros(2, dtype=torch.int64)
    gain = Angle.reach(0.3, 0.15) - 0.3
    base = Brightness(0.3 + 0.9 * gain)

    noisy = Defense(Noisy(base), stochastic=True, base=base)
    x_adv, proof, oracle = attack_on(type(attack)(steps=20, eot=10), noisy, x, y, "lpips:0.15")

    assert base(x_adv).argmax(1).tolist() == [1, 1]
    assert oracle.broken.all()
    assert attack.violations(x, x_adv, proof, ThreatModel.parse("lpips:0.15")) == []
    assert torch.equal(distance(proof.network, x, x_adv), distance(Features(base), x, x_adv))


@ATTACKS_HERE
def test_a_distance_that_would_be_random_is_refused(attack_on, attack):
    x, y = torch.full((2, 1, 4, 4), 0.3), torch.zeros(2, dtype=torch.int64)

    with pytest.raises(BenchError, match=r"distances between its activations: declare Defense\.base"):
        attack_on(attack, Defense(Noisy(Brightness(0.5)), stochastic=True), x, y, "lpips:0.1")


@ATTACKS_HERE
def test_a_network_that_shows_nothing_is_refused(attack_on, halfspace, images, attack):
    x = images(2)

    with pytest.raises(BenchError, match="Halfspace shows no activations"):
        attack_on(attack, Defense(halfspace()), x, torch.zeros(2, dtype=torch.int64), "lpips:0.1")
