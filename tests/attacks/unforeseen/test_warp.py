"""Affine and perspective warps."""

import os

import pytest
import torch

from bench.attacks.unforeseen import affine, perspective
from bench.attacks.unforeseen.affine import Affine
from bench.attacks.unforeseen.perspective import Perspective
from bench.attacks.unforeseen.rendered import Proof
from bench.catalogue.loading import load_defense
from bench.catalogue.request import Request
from bench.catalogue.resolve import defense
from bench.datasets.load import load
from bench.errors import BenchError
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense

ZERO = {"affine": (2, 3), "perspective": (8,)}
ATTACKS = {"affine": Affine, "perspective": Perspective}
RENDERINGS = {"affine": affine.render, "perspective": perspective.render}
for_both = pytest.mark.parametrize("name", ATTACKS)


@pytest.fixture
def x():
    return torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def change():
    """A random change of any shape."""

    def draw(*shape, size=0.2, seed=1):
        return size * (2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1)

    return draw


@for_both
def test_the_identity_is_exact(x, name):
    """Bit for bit, for an image that is not square."""
    same = RENDERINGS[name](x, torch.zeros(3, *ZERO[name]))

    assert torch.equal(same, x)


@for_both
@pytest.mark.parametrize(("right", "below"), [(1, 0), (0, 1), (-3, 2), (5, -2)])
def test_a_shift_by_whole_pixels_moves_by_whole_pixels(x, name, right, below):
    """Two units are the width, or the height, of the image; beyond the edge the edge is repeated."""
    entries = torch.zeros(3, *ZERO[name])
    entries.flatten(1)[:, 2], entries.flatten(1)[:, 5] = 2 * right / 12, 2 * below / 8
    rows, columns = (torch.arange(8) + below).clamp(0, 7), (torch.arange(12) + right).clamp(0, 11)

    moved = RENDERINGS[name](x, entries)

    assert torch.allclose(moved, x[:, :, rows][..., columns], atol=2e-6)


@for_both
def test_every_run_starts_within_the_bound(x, stream, name):
    """Anywhere in it, on either side of the identity."""
    start = ATTACKS[name]().start(x, (), 0.1, stream(3))

    assert start.shape == (3, *ZERO[name])
    assert 0.07 < start.max() <= 0.1
    assert -0.1 <= start.min() < -0.07


@for_both
def test_the_gradient_is_the_slope_of_the_image(x, change, name):
    """Central differences in float64 agree with autograd."""
    entries = change(2, *ZERO[name]).double().requires_grad_()
    image = x[:2, :1, :4, :5].double()

    assert torch.autograd.gradcheck(lambda e: RENDERINGS[name](image, e), entries)


@for_both
def test_a_row_depends_on_its_own_matrix_alone(x, change, name):
    """One image after the other gives the batch."""
    entries = change(3, *ZERO[name])

    together = RENDERINGS[name](x, entries)

    assert torch.equal(together, torch.cat([RENDERINGS[name](x[i : i + 1], entries[i : i + 1]) for i in range(3)]))


@for_both
def test_the_proof_renders_the_proposal_and_fills_the_bound(small_cnn, x, stream, name):
    """`propose` returns the matrix of the very point it returns, within eps and up to it."""
    model = small_cnn(channels=3)
    y = model(x).argmax(1)
    threat, attack = ThreatModel.parse(f"{name}:0.02"), ATTACKS[name](steps=20, n_restarts=2)

    x_adv, proof = attack.propose(Oracle(Defense(model), 3), x, y, threat, stream=stream(3))

    assert attack.violations(x, x_adv, proof, threat) == []
    assert torch.equal(RENDERINGS[name](x, proof.latent), x_adv)
    assert proof.latent.abs().max() == pytest.approx(0.02)


@for_both
def test_a_false_proof_is_named(x, change, name):
    """Too large a change, another image, and a matrix of other than numbers are each told."""
    threat, claims, render = ThreatModel.parse(f"{name}:0.1"), ATTACKS[name]().violations, RENDERINGS[name]
    entries = change(3, *ZERO[name], size=0.1)

    too_large = claims(x, render(x, 2 * entries), Proof(2 * entries, ()), threat)
    other = claims(x, render(x, 0.9 * entries), Proof(entries, ()), threat)
    broken = claims(x, x, Proof(entries / 0, ()), threat)
    honest = claims(x, render(x, entries), Proof(entries, ()), threat)

    assert "more than 0.1" in too_large[0]
    assert "differs from x_adv" in other[0]
    assert "not finite" in broken[0]
    assert honest == []


@for_both
def test_another_family_is_refused(launch, small_cnn, images, name):
    with pytest.raises(BenchError, match="is not defined for stadv"):
        launch(ATTACKS[name](), small_cnn(), images(1), torch.zeros(1, dtype=torch.int64), "stadv:1")


class Corner(torch.nn.Module):
    """Class 1 once the second pixel of the second row, at (-5/8, -5/8), is more than half bright."""

    def forward(self, x):
        score = x[:, :, 1, 1].mean(1) - 0.5
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize(("bound", "broken"), [(0.29, True), (0.265, False)])
def test_a_ramp_is_moved_exactly_as_far_as_the_bound_allows(launch, bound, broken):
    """Half bright in the middle, 5/8 away: shift, scale and shear together move a pixel by eps * (1 + 5/8 + 5/8)."""
    x = ((torch.arange(8.0) + 0.5) / 8).expand(2, 1, 8, 8).contiguous()
    y = torch.zeros(2, dtype=torch.int64)

    x_adv, oracle = launch(Affine(), Corner(), x, y, f"affine:{bound}")

    assert (Corner()(x_adv).argmax(1) == 1).tolist() == [broken, broken]
    assert broken or oracle.forwards.tolist() == [105, 105]  # the last point of each run is judged, too


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("BENCH_DATA"), reason="BENCH_DATA names no folder with CIFAR-10")
@for_both
def test_few_steps_break_most_of_an_undefended_model(launch, name):
    """On CIFAR-10 a climb finds what random matrices do not; a larger bound breaks no fewer."""
    data = load("cifar10", "test", n=20)
    model = load_defense(defense(Request("standard", {}), "cifar10", None), data.spec).model.eval()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    right = model(x).argmax(1) == y
    x, y = x[right], y[right]
    attack = ATTACKS[name](n_restarts=2)

    left = [
        (model(launch(attack, model, x, y, f"{name}:{bound}")[0]).argmax(1) == y).float().mean().item()
        for bound in (0.05, 0.2)
    ]

    assert left[0] >= left[1]
    assert left[1] <= 0.25
