"""Momentum across draws finds what averages within draws find, for a tenth of the passes."""

import pytest
import torch
from torch import nn

from bench.attacks.losses import LOSSES
from bench.attacks.lp.pgd import PGD
from bench.attacks.purifiers.across_draws import AcrossDraws, State, error_rate
from bench.catalogue import ATTACKS
from bench.errors import BenchError
from bench.oracle.geometry import project
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


class NoisyRounding(nn.Module):
    """A purifier without a gradient: noise, then every pixel to the nearest of 32 levels."""

    def forward(self, x):
        return ((x + 0.02 * torch.randn_like(x)) * 32).round() / 32


def worst(model, x, y, threat):
    """Return the largest error rate inside a Linf ball in the box: a linear model's is at a corner."""
    weight = model.halfspace.weight.detach()
    uphill = (weight[1 - y] - weight[y]).view_as(x).sign()
    return model.error_rate(project(x + float(threat.eps) * uphill, x, threat), y)


@pytest.mark.parametrize(("noise", "saved"), [(0.5, 3), (2.0, 10), (8.0, 10)])
def test_it_reaches_the_largest_error_rate_there_is(launch, noisy_halfspace, images, noise, saved):
    """Within half a point in closed form, at any size of the noise, for a tenth of the passes of PGD with EOT.

    With little noise most images break in the first steps, and PGD, too, drops them there.
    """
    model, x, threat = noisy_halfspace(noise), images(24), ThreatModel.parse("Linf:0.03")
    y = model.halfspace(x).argmax(1)

    found, oracle = launch(AcrossDraws(), model, x, y, threat, stochastic=True)
    _, other = launch(PGD(steps=200, eot=20, random_start=False), model, x, y, threat, stochastic=True)

    assert (worst(model, x, y, threat) - model.error_rate(found, y)).mean() < 0.005
    passes, others = (float((each.forwards + each.backwards).sum()) for each in (oracle, other))
    assert saved * passes < others


@pytest.mark.parametrize("loss", LOSSES)
def test_between_two_classes_any_loss_leads_to_the_largest_error_rate(launch, noisy_halfspace, images, loss):
    """All gradients are multiples of one vector there, and only the share of each draw in it differs."""
    model, x, threat = noisy_halfspace(2.0), images(8), ThreatModel.parse("Linf:0.03")
    y = model.halfspace(x).argmax(1)

    found, _ = launch(AcrossDraws(loss=loss, n_restarts=1), model, x, y, threat, stochastic=True)

    assert (worst(model, x, y, threat) - model.error_rate(found, y)).mean() < 0.01


class Decoy(nn.Module):
    """Noise before a linear classifier with a third class, which is always just below the answer."""

    def __init__(self, halfspace):
        super().__init__()
        self.halfspace = halfspace

    def forward(self, x):
        logits = self.halfspace(x + 0.02 * torch.randn_like(x))
        top = logits.amax(1, keepdim=True)
        return torch.cat([logits, top - 1e-4], 1)


def test_where_the_runner_up_is_a_decoy_another_loss_finds_what_the_margin_hides(launch, halfspace, images):
    """The margin is constant where the answer is right, so its gradient is zero; that of the mean is not."""
    base, x = halfspace(), images(16)
    distance = base.distance(x, base(x).argmax(1), "Linf")
    x = x[distance.argsort(descending=True)[:8]]  # too far from the boundary for a random point to be beyond it
    model, y = Decoy(base).eval(), base(x).argmax(1)
    threat = ThreatModel.parse(f"Linf:{1.5 * distance.max().item():.4f}")

    wrong = {}
    for loss in ("error", "mean"):
        found, _ = launch(AcrossDraws(loss=loss), model, x, y, threat, stochastic=True)
        wrong[loss] = torch.stack([model(found).argmax(1) != y for _ in range(40)]).float().mean()
    assert wrong["mean"] > 0.95
    assert wrong["error"] < 0.7


@pytest.mark.parametrize("threat", ["L2:0.3", "L1:2"])
def test_other_balls_are_searched_as_well(launch, noisy_halfspace, images, threat):
    model, x = noisy_halfspace(2.0), images(16)
    y = model.halfspace(x).argmax(1)

    found, _ = launch(AcrossDraws(), model, x, y, threat, stochastic=True)
    other, _ = launch(PGD(steps=200, eot=20), model, x, y, threat, stochastic=True)

    assert model.error_rate(found, y).mean() > model.error_rate(other, y).mean() - 0.01


def test_where_the_true_gradient_leads_nowhere_it_follows_the_stand_in(halfspace, images, stream):
    """A purifier that rounds has a gradient of zero; the identity's in its place breaks every image."""
    base, x = halfspace(), images(8)
    y = base(x).argmax(1)
    threat = ThreatModel.parse(f"Linf:{1.5 * base.distance(x, y, 'Linf').max().item():.4f}")
    purifier = NoisyRounding()
    defense = Defense(nn.Sequential(purifier, base).eval(), stochastic=True, base=base, purifier=purifier)

    x_adv = AcrossDraws()(Oracle(defense, len(x), scope=("test",)), x, y, threat, stream=stream(len(x)))

    wrong = torch.stack([defense.model(x_adv).argmax(1) != y for _ in range(20)]).float().mean(0)
    assert (wrong > 0.9).all()


class FlatAt(nn.Module):
    """A purifier that takes everything near a clean image for that image, and so is flat there."""

    def __init__(self, clean, near):
        super().__init__()
        self.clean, self.near = clean, near

    def forward(self, x):
        clean = self.clean[(x.unsqueeze(1) - self.clean).flatten(2).norm(dim=2).argmin(1)]
        away = x - clean
        far = away.flatten(1).abs().amax(1) > self.near
        return clean + away * far[:, None, None, None]


@pytest.mark.parametrize("n_restarts", [1, 2])
def test_a_purifier_that_is_flat_at_clean_images_hides_nothing(launch, noisy_halfspace, images, n_restarts):
    """From the image no gradient leads away; from a random point of the ball the corner is found."""
    noisy, x, threat = noisy_halfspace(2.0), images(8), ThreatModel.parse("Linf:0.03")
    y = noisy.halfspace(x).argmax(1)
    model = nn.Sequential(FlatAt(x, 0.1 * float(threat.eps)), noisy)

    found, _ = launch(AcrossDraws(n_restarts=n_restarts), model, x, y, threat, stochastic=True)

    assert (worst(noisy, x, y, threat) - noisy.error_rate(found, y)).mean() < 0.01


class Remembering(nn.Module):
    """A purifier that adds noise and remembers what it added where a gradient was asked for."""

    def __init__(self):
        super().__init__()
        self.added = []

    def forward(self, x):
        noise = 0.05 * torch.randn_like(x)
        if torch.is_grad_enabled():
            self.added.append(noise.sum().item())
        return ((x + noise) * 32).round() / 32


def test_no_two_gradients_are_of_the_same_draw(halfspace, images, stream):
    """Of the stand-in neither: a trajectory along one draw would be an attack on that draw alone."""
    purifier, base, x = Remembering(), halfspace(), images(4)
    defense = Defense(nn.Sequential(purifier, base).eval(), stochastic=True, base=base, purifier=purifier)

    AcrossDraws(budget=40)(
        Oracle(defense, 4, scope=("test",)), x, base(x).argmax(1), ThreatModel.parse("Linf:0.01"), stream=stream(4)
    )

    assert len(purifier.added) >= 40
    assert len(set(purifier.added)) == len(purifier.added)


def test_what_is_wrong_in_every_draw_takes_no_more_queries(launch, noisy_halfspace, images):
    """Dropped at the first or second look, after evidence; the others use up their draws."""
    model, x = noisy_halfspace(0.01), images(8)
    y = model.halfspace(x).argmax(1)
    eps = 2 * model.halfspace.distance(x, y, "Linf").max().item()

    _, oracle = launch(AcrossDraws(), model, x, y, f"Linf:{eps:.4f}", stochastic=True)

    assert oracle.broken.all()
    assert oracle.backwards.max() <= 40


def test_the_error_rate_keeps_a_slope_where_a_sigmoid_is_flat():
    logits = torch.tensor([[400.0, 0.0]], requires_grad=True)

    error_rate(logits, torch.tensor([0])).sum().backward()

    assert torch.equal(logits.grad, torch.tensor([[-1e-3, 1e-3]]))


def test_draws_grow_where_signs_are_not_settled_and_nowhere_else():
    x = torch.zeros(2, 1, 32, 32)
    state = State.at(torch.arange(2), x, torch.zeros(2, dtype=torch.int64), x, x, 1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        noise = torch.randn(1, 1, 32, 32, generator=generator)
        state.learn(torch.cat([noise, torch.ones_like(noise)]), torch.zeros(2), 0.95)

    state.ask_for_more()

    assert state.draws.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"momentum": 1.0}, "momentum=1.0"), ({"budget": 0}, "budget=0"), ({"loss": "cse"}, "did you mean ce")],
)
def test_parameters_that_mean_nothing_are_refused(options, told):
    with pytest.raises(BenchError, match=told):
        AcrossDraws(**options)


def test_its_cost_follows_from_its_parameters_and_is_the_registered_one():
    """As the entry has it by hand: the budget and 15 beyond, five along a stand-in, and draws that compare points."""
    entry = ATTACKS.get("across-draws")

    assert AcrossDraws().cost() == (entry.forwards, entry.backwards)
    assert AcrossDraws(budget=50, draws=2, n_restarts=1).cost() == (49 + 16 + 10 + 40, 49 + 16 + 10)
