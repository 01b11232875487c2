import pytest
import torch
from torch import nn

from bench.attacks.unforeseen.rendered import Proof
from bench.attacks.unforeseen.stadv import StAdv, render
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


@pytest.fixture
def x():
    return torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(0))


class Bar(nn.Module):
    """Class 0 while column 3 is brighter than column 4."""

    def forward(self, x):
        columns = x.mean((1, 2))
        return torch.stack([columns[:, 3], columns[:, 4]], 1)


@pytest.fixture
def bar():
    # A roof with its ridge on column 3: every pixel of it has a slope to follow.
    x = torch.tensor([0.0, 0.2, 0.6, 1.0, 0.6, 0.2, 0.0, 0.0]).expand(2, 1, 8, 8).clone()
    return Bar(), x, torch.zeros(2, dtype=torch.int64)


def test_zero_flow_is_exactly_the_identity(x):
    """Bit for bit: an unmoved image is judged as the clean one."""
    moved = render(x, torch.zeros(3, 9, 7, 2))

    assert torch.equal(moved, x)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, 1), (-2, 0), (0, -1), (1, 2)])
def test_a_whole_flow_moves_by_whole_pixels(x, down, right):
    """Output pixel (i, j) is input pixel (i + down, j + right), with the edge repeated."""
    flow = torch.tensor([float(down), float(right)]).expand(3, 9, 7, 2)
    rows = (torch.arange(9) + down).clamp(0, 8)
    columns = (torch.arange(7) + right).clamp(0, 6)

    moved = render(x, flow)

    assert torch.equal(moved, x[:, :, rows][..., columns])


def test_a_fractional_flow_interpolates_and_agrees_with_grid_sample(x):
    """Bilinear sampling as in torch, whose coordinates are normalized and rounded."""
    flow = 2 * torch.rand(3, 9, 7, 2, generator=torch.Generator().manual_seed(1)) - 1
    rows = torch.arange(9.0)[:, None] + flow[..., 0]
    columns = torch.arange(7.0) + flow[..., 1]
    grid = torch.stack([(2 * columns + 1) / 7 - 1, (2 * rows + 1) / 9 - 1], 3)

    moved = render(x, flow)

    expected = torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    assert torch.allclose(moved, expected, atol=1e-5)


def test_the_gradient_of_the_flow_is_the_slope_of_the_image(x):
    """Central differences in float64 agree with autograd."""
    flow = 0.3 * torch.rand(3, 9, 7, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.1

    exact = torch.autograd.gradcheck(lambda f: render(x.double(), f), flow.requires_grad_())

    assert exact


def test_an_image_that_breaks_at_one_pixel_breaks_at_one_pixel(launch, bar):
    """The ridge has to move by half a pixel for the columns to draw level: 0.6 suffices, 0.4 does not."""
    model, x, y = bar

    broken, _ = launch(StAdv(), model, x, y, ThreatModel.parse("stadv:0.6"))
    robust, oracle = launch(StAdv(), model, x, y, ThreatModel.parse("stadv:0.4"))
    at_one, _ = launch(StAdv(steps=20), model, x, y, ThreatModel.parse("stadv:1"))

    assert model(broken).argmax(1).tolist() == [1, 1]
    assert model(robust).argmax(1).tolist() == [0, 0]
    assert model(at_one).argmax(1).tolist() == [1, 1]
    assert (oracle.backwards == 101).all()


def test_a_tiny_bound_moves_nothing(launch, small_cnn, images):
    """A millionth of a pixel changes no pixel by more than a millionth."""
    model, x = small_cnn(), images(4)
    y = model(x).argmax(1)

    x_adv, _ = launch(StAdv(steps=20), model, x, y, ThreatModel.parse("stadv:1e-6"))

    assert (x_adv - x).abs().max() < 2e-6
    assert model(x_adv).argmax(1).tolist() == y.tolist()


def test_the_proof_renders_the_proposal_and_fills_the_bound(launch, small_cnn, images, stream):
    """`propose` returns the flow of the very point it returns, and the bound is made use of."""
    model, x = small_cnn(), images(6)
    y = model(x).argmax(1)
    threat = ThreatModel.parse("stadv:0.5")

    x_adv, proof = StAdv(steps=30).propose(Oracle(Defense(model), 6), x, y, threat, stream=stream(6))

    assert StAdv().violations(x, x_adv, proof, threat) == []
    assert torch.equal(render(x, proof.latent), x_adv)
    assert proof.latent.abs().max() == 0.5
    assert torch.equal(launch(StAdv(steps=30), model, x, y, threat)[0], x_adv)


def test_a_false_proof_is_named(x):
    """A flow beyond the bound, an image it does not render and a flow that is no number are each told."""
    threat = ThreatModel.parse("stadv:0.5")
    flow = torch.full((3, 9, 7, 2), 0.4)
    x_adv, claims = render(x, flow), StAdv().violations

    too_far = claims(x, render(x, flow + 0.2), Proof(flow + 0.2, ()), threat)
    other = claims(x, x_adv + 1e-4, Proof(flow, ()), threat)
    broken = claims(x, x_adv, Proof(flow * float("nan"), ()), threat)
    honest = claims(x, x_adv, Proof(flow, ()), threat)

    assert "0.6" in too_far[0]
    assert "differs from x_adv by 0.0001" in other[0]
    assert "not finite" in broken[0]
    assert honest == []


def test_a_false_image_that_is_not_a_number_is_named(x):
    """NaN compares false with everything; the check must not pass because of that."""
    proof = Proof(torch.zeros(3, 9, 7, 2), ())

    faults = StAdv().violations(x, x * float("nan"), proof, ThreatModel.parse("stadv:0.5"))

    assert len(faults) == 1


def test_a_norm_is_refused(launch, bar):
    """Its eps is in pixels, not a distance."""
    model, x, y = bar

    with pytest.raises(BenchError, match="StAdv is not defined for Linf"):
        launch(StAdv(), model, x, y, ThreatModel.parse("Linf:0.1"))


def test_stadv_averages_over_draws(launch, images):
    """A flow that the noise of a single draw hides is found with twenty."""

    class NoisyEdge(nn.Module):
        def forward(self, x):
            noisy = x + 0.5 * torch.randn_like(x)
            gap = noisy[..., 4:].mean((1, 2, 3)) - noisy[..., :4].mean((1, 2, 3))
            return torch.stack([gap, -gap], 1)

    x = torch.linspace(0.2, 0.8, 8).expand(4, 1, 8, 8).clone()
    y = torch.zeros(4, dtype=torch.int64)

    x_adv, _ = launch(StAdv(steps=20, eot=20), NoisyEdge(), x, y, ThreatModel.parse("stadv:1"), stochastic=True)

    gap = (x_adv[..., 4:].mean((1, 2, 3)) - x_adv[..., :4].mean((1, 2, 3))) / (
        x[..., 4:].mean((1, 2, 3)) - x[..., :4].mean((1, 2, 3))
    )
    # Every column but the first can be read one pixel further in; that takes 2/7 to 4/7 of the gap.
    assert (gap < 0.85).all()
