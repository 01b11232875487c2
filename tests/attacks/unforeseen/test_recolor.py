"""ReColorAdv: the color space, the grid, the attack; and beside it and StAdv, their authors' own code."""

import os
import warnings

import pytest
import torch
from torch import nn

from bench import _compat
from bench.attacks.unforeseen.recolor import ReColor, interpolate, render, to_luv, to_rgb
from bench.attacks.unforeseen.rendered import Proof
from bench.attacks.unforeseen.stadv import StAdv
from bench.catalogue import ATTACKS
from bench.catalogue.loading import load_defense
from bench.catalogue.registry import load as load_target
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import load
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense

GRID = (16, 32, 32, 3)

# sRGB and its published L*, u*, v* under D65.
COLORS = {
    "black": ((0, 0, 0), (0, 0, 0)),
    "white": ((1, 1, 1), (100, 0, 0)),
    "red": ((1, 0, 0), (53.24, 175.02, 37.76)),
    "green": ((0, 1, 0), (87.74, -83.08, 107.40)),
    "blue": ((0, 0, 1), (32.30, -9.40, -130.34)),
    "yellow": ((1, 1, 0), (97.14, 7.70, 106.79)),
    "gray": ((0.5, 0.5, 0.5), (53.39, 0, 0)),
}


def plain(luv):
    """L*, u* and v* without the scale."""
    return torch.stack([100 * luv[:, 0], 200 * luv[:, 1] - 100, 200 * luv[:, 2] - 100], 1)


@pytest.fixture
def x():
    return torch.rand(3, 3, 6, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def grid():
    return 0.12 * torch.rand(3, *GRID, generator=torch.Generator().manual_seed(1)) - 0.06


@pytest.mark.parametrize("size", [(9, 7), (13, 15), (17, 24), (16, 16)])
def test_an_image_renders_alike_in_any_batch(size):
    """To the bit, or the proof of an attack that left rows out would not be believed; dark colors tell best."""
    generator = torch.Generator().manual_seed(0)
    x = (0.3 * torch.rand(6, 3, *size, generator=generator)).mul(255).round() / 255
    grid = 0.3 * (2 * torch.rand(6, *GRID, generator=generator) - 1)

    whole = render(x, grid)

    for rows in ([0], [5], [1, 2], [0, 3, 4], [0, 1, 2, 3, 4]):
        assert torch.equal(render(x[rows], grid[rows]), whole[rows])


@pytest.mark.parametrize("name", COLORS)
def test_known_colors_have_their_known_coordinates(name):
    rgb, luv = COLORS[name]

    found = plain(to_luv(torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)))

    assert torch.allclose(found.flatten(), torch.tensor(luv, dtype=torch.float64), atol=0.06)


def test_both_ways_agree_with_kornia():
    """Which has another digit in the matrix; colors too dark for a hue are left out on the way back."""
    kornia = pytest.importorskip("kornia")
    rgb = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    luv = kornia.color.rgb_to_luv(rgb)
    moved = luv + 6 * (2 * torch.rand_like(luv) - 1)
    bright = (moved[:, :1] > 20).expand(-1, 3, -1, -1)
    scaled = torch.stack([moved[:, 0] / 100, (moved[:, 1] + 100) / 200, (moved[:, 2] + 100) / 200], 1)

    there, back = plain(to_luv(rgb)), to_rgb(scaled)

    assert torch.allclose(there, luv, atol=0.05)
    assert torch.allclose(back[bright], kornia.color.luv_to_rgb(moved).clamp(0, 1)[bright], atol=2e-3)


def test_there_and_back_is_the_identity(x):
    """To 1e-12 in float64; the rounding of float32 near black is what `render` takes out."""
    assert torch.allclose(to_rgb(to_luv(x.double())), x.double(), atol=1e-12)
    assert torch.allclose(to_rgb(to_luv(x)), x, atol=2e-5)


def test_a_grid_of_zeros_gives_exactly_the_image(x):
    """Bit for bit, black and white included."""
    x[:, :, 0, 0], x[:, :, 0, 1] = 0, 1

    recolored = render(x, torch.zeros(3, *GRID))

    assert torch.equal(recolored, x)


def test_a_linear_grid_is_interpolated_exactly(x):
    """Trilinear interpolation between points of a linear function is that function."""
    axes = [torch.linspace(0, 1, size, dtype=torch.float64) for size in GRID[:3]]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    matrix = torch.tensor([[0.3, -0.2, 0.5], [0.1, 0.7, -0.4], [-0.6, 0.2, 0.9]], dtype=torch.float64)
    luv = to_luv(0.2 + 0.6 * x.double())

    shift = interpolate((points @ matrix.T + 0.25).expand(3, -1, -1, -1, -1), luv)

    assert luv.min() > 0
    assert luv.max() < 1
    assert torch.allclose(shift, torch.einsum("ij,bjhw->bihw", matrix, luv) + 0.25, atol=1e-12)


def test_colors_beyond_the_grid_read_its_nearest_face(grid):
    """Pure red has v* and pure blue u* inside, and the other coordinate outside of the grid."""
    luv = torch.tensor([[0.5, 1.4, 0.5], [0.5, 0.5, -0.2], [1.0, 1.0, 1.0]]).view(3, 3, 1, 1)

    beyond = interpolate(grid, luv)

    assert torch.equal(beyond, interpolate(grid, luv.clamp(0, 1)))
    assert torch.allclose(beyond[2].flatten(), grid[2, -1, -1, -1])


def test_one_color_is_moved_one_way(x, grid):
    """Two pixels of the same color stay alike, wherever they are."""
    x[:, :, 2, 3] = x[:, :, 5, 0]

    recolored = render(x, grid)

    assert torch.allclose(recolored[:, :, 2, 3], recolored[:, :, 5, 0], atol=1e-6)
    assert (recolored - x).abs().max() > 0.03


def test_rows_do_not_touch_each_other(x, grid):
    whole = render(x, grid)

    apart = torch.cat([render(x[i : i + 1], grid[i : i + 1]) for i in range(3)])

    assert torch.allclose(whole, apart, atol=1e-6)


def test_the_gradient_of_the_grid_is_that_of_differences(x):
    """Central differences in float64 agree with autograd, on a small grid."""
    small = 0.1 * torch.rand(1, 2, 3, 2, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 0.05
    image = (0.25 + 0.5 * x[:1, :, :2, :2]).double()

    exact = torch.autograd.gradcheck(lambda g: render(image, g), small.requires_grad_())

    assert exact


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.06, 0.5])
@pytest.mark.parametrize("color", [(0, 0, 0), (1e-6, 1e-6, 1e-6), (0, 0, 0.004), (1, 1, 1), (1, 0, 0), (0, 0, 1)])
def test_values_and_slopes_are_finite_where_hue_is_not_defined(color, size):
    """Black has no chromaticity, and a root has no slope at zero."""
    image = torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1)
    points = size * (2 * torch.rand(1, *GRID, generator=torch.Generator().manual_seed(4)) - 1)

    out = render(image, points.requires_grad_())
    (grad,) = torch.autograd.grad(out.sum(), points)

    assert torch.isfinite(out).all()
    assert grad.abs().max() < 1e3  # which a NaN is not


class RedOverBlue(nn.Module):
    """Class 0 until the image is redder than blue by `limit`."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def forward(self, x):
        red, _, blue = x.mean((2, 3)).unbind(1)
        return torch.stack([torch.zeros_like(red), red - blue - self.limit], 1)


def test_an_image_of_one_color_breaks_at_the_color_it_can_reach(launch):
    """Every color of the box around it, sampled densely, tells how far red can be from blue."""
    x = torch.tensor([0.45, 0.5, 0.55]).view(1, 3, 1, 1).expand(2, 3, 4, 4).contiguous()
    steps = torch.linspace(-0.06, 0.06, 25)
    box = torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, -1, 1)
    reached = to_rgb(to_luv(x[:1, :, :1, :1]) + box)[0, :, :, 0]
    limit = (reached[0] - reached[2]).max().item()
    y = torch.zeros(2, dtype=torch.int64)

    broken, _ = launch(ReColor(), RedOverBlue(0.99 * limit), x, y, "recolor:0.06")
    robust, oracle = launch(ReColor(), RedOverBlue(1.01 * limit), x, y, "recolor:0.06")

    assert RedOverBlue(0.99 * limit)(broken).argmax(1).tolist() == [1, 1]
    assert RedOverBlue(1.01 * limit)(robust).argmax(1).tolist() == [0, 0]
    assert (oracle.backwards == 101).all()


def test_the_proof_renders_the_proposal_and_fills_the_bound(small_cnn, images, stream):
    model, x = small_cnn(channels=3), images(5, (3, 8, 8))
    y, threat, before = model(x).argmax(1), ThreatModel.parse("recolor:0.05"), x.clone()

    x_adv, proof = ReColor(steps=30).propose(Oracle(Defense(model), 5), x, y, threat, stream=stream(5))

    assert ReColor().violations(x, x_adv, proof, threat) == []
    assert torch.equal(render(x, proof.latent), x_adv)
    assert proof.latent.abs().max() == pytest.approx(0.05, abs=1e-7)
    assert torch.equal(x, before)


def test_a_false_proof_is_named(x, grid):
    """A shift beyond the bound, an image it does not render and a grid that is no number are each told."""
    threat, claims = ThreatModel.parse("recolor:0.06"), ReColor().violations
    x_adv, far = render(x, grid), grid.clone()
    far[1, 3, 4, 5, 2] = 0.07

    too_far = claims(x, render(x, far), Proof(far, ()), threat)
    other = claims(x, (x_adv + 1e-4).clamp(0, 1), Proof(grid, ()), threat)
    broken = claims(x, x_adv, Proof(grid * float("nan"), ()), threat)

    assert "0.07" in too_far[0]
    assert "differs from x_adv by 0.0001" in other[0]
    assert "not finite" in broken[0]
    assert claims(x, x_adv, Proof(grid, ()), threat) == []


@pytest.mark.parametrize(("wrong", "message"), [({"begin": 2}, "begin=2"), ({"step_size": 0}, "step_size=0")])
def test_parameters_without_a_meaning_are_refused(wrong, message):
    with pytest.raises(BenchError, match=message):
        ReColor(**wrong)


@pytest.fixture(scope="module")
def network():
    """Load a shipped CIFAR-10 network with the first test images it gets right."""
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA names no folder with CIFAR-10")

    def build(name, n):
        pictures = load("cifar10", "test", n=n)
        model = load_defense(defense(Request(name, {}), "cifar10", None), pictures.spec).model.eval()
        x, y = torch.from_numpy(pictures.x), torch.from_numpy(pictures.y)
        right = model(x).argmax(1) == y
        return model, x[right], y[right], n

    return build


def robust(model, x_adv, y):
    return int((model(x_adv).argmax(1) == y).sum())


@pytest.mark.data
def test_an_undefended_network_falls_below_a_tenth(launch, network):
    """ResNet-8 on CIFAR-10 as the catalogue attacks it."""
    entry = ATTACKS.get("recolor")
    model, x, y, n = network("standard", 64)

    x_adv, _ = launch(load_target(entry.target)(**entry.config), model, x, y, "recolor:0.06")

    assert robust(model, x_adv, y) < 0.1 * n


@pytest.mark.data
def test_robust_accuracy_falls_with_the_bound(launch, network):
    """An adversarially trained network leaves room for three sizes."""
    model, x, y, _ = network("at", 24)

    left = [
        robust(model, launch(ReColor(steps=10), model, x, y, f"recolor:{eps}")[0], y) for eps in ("0.01", "0.03", "0.1")
    ]

    assert len(y) > left[0] > left[1] > left[2]


@pytest.fixture(scope="module")
def published():
    """The authors' StAdv and ReColorAdv, without penalties, which have no part in the threat model."""
    _compat.torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("recoloradv")
        from recoloradv import color_spaces, color_transformers, perturbations
        from recoloradv.mister_ed import (
            adversarial_attacks,
            adversarial_perturbations,
            loss_functions,
            spatial_transformers,
        )

    flow = {"lp_style": "inf", "xform_class": spatial_transformers.FullSpatial, "use_stadv": True}
    colors = {
        "lp_style": "inf",
        "xform_class": color_transformers.FullSpatial,
        "cspace": color_spaces.CIELUVColorSpace(),
        "xform_params": {"resolution_x": 16, "resolution_y": 32, "resolution_z": 32},
        "use_smooth_loss": True,
    }
    kinds = {
        "stadv": (adversarial_perturbations.ParameterizedXformAdv, flow),
        "recolor": (perturbations.ReColorAdv, colors),
    }

    def attack(kind, bound, model, x, y, steps):
        unchanged, (form, options) = nn.Identity(), kinds[kind]
        parts = {"margin": loss_functions.CWLossF6(model, unchanged, kappa=float("inf"))}
        loss = loss_functions.RegularizedLoss(parts, {"margin": 1.0}, negate=True)
        threat = adversarial_perturbations.ThreatModel(form, {**options, "lp_bound": bound})
        search = adversarial_attacks.PGD(model, unchanged, threat, loss)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = search.attack(
                x,
                y,
                optimizer=torch.optim.Adam,
                optimizer_kwargs={"lr": 0.01},
                signed=False,
                verbose=False,
                num_iterations=steps,
                random_init=False,
            )
            return found.adversarial_tensors(x).detach()

    return attack


@pytest.mark.data
@pytest.mark.parametrize(
    ("attack", "threat", "bound"),
    [(ReColor(steps=20), "recolor:0.06", 0.06), (StAdv(steps=20), "stadv:0.4", 0.4 / 16)],
    ids=["recolor", "stadv"],
)
def test_the_authors_own_code_breaks_no_more(launch, network, published, attack, threat, bound):
    """20 steps each on a robust network; their flow counts half widths of the image, here 16 pixels."""
    model, x, y, _ = network("at", 32)
    x, y = x[:16], y[:16]

    x_adv, _ = launch(attack, model, x, y, threat)
    theirs = published(attack.family, bound, model, x, y, 20)

    broken = 16 - robust(model, theirs, y)
    assert 3 <= broken <= 14
    assert 16 - robust(model, x_adv, y) >= broken - 1
