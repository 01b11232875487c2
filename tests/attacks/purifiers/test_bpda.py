"""BPDA goes where the true gradient is shattered, and is PGD where there is nothing to approximate."""

import pytest
import torch
from torch import nn

from bench.attacks.lp.pgd import PGD
from bench.attacks.purifiers.bpda import BPDA
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


class Round(nn.Module):
    """A purifier without a gradient: every pixel to the nearest of 32 levels."""

    def forward(self, x):
        return (x * 32).round() / 32


class Noise(nn.Module):
    """A purifier that adds normal noise of its own."""

    def forward(self, x):
        return x + 0.05 * torch.randn_like(x)


def purified(purifier, base, **options):
    return Defense(nn.Sequential(purifier, base).eval(), base=base, purifier=purifier, **options)


@pytest.fixture
def attack(stream):
    def run(method, defense, x, y, threat):
        oracle = Oracle(defense, len(x), scope=("test",))
        return method(oracle, x, y, ThreatModel.parse(threat), stream=stream(len(x))), oracle

    return run


@pytest.mark.parametrize("family", ["Linf", "L2"])
def test_a_rounding_purifier_is_no_defense(attack, halfspace, images, family):
    """Its true gradient is zero and PGD stays where it started; the identity's gradient breaks every row."""
    base, x = halfspace(), images(8)
    defense = purified(Round(), base)
    y = defense.model(x).argmax(1)
    threat = f"{family}:{1.5 * base.distance(x, y, family).max().item():.4f}"

    by_pgd, _ = attack(PGD(random_start=False), defense, x, y, threat)
    by_bpda, _ = attack(BPDA(), defense, x, y, threat)

    assert torch.equal(by_pgd, x)
    assert (defense.model(by_bpda).argmax(1) != y).all()


@pytest.mark.parametrize("threat", ["Linf:0.12", "L2:0.6"])
def test_with_an_identity_for_a_purifier_it_is_pgd(attack, robust_digits, threat):
    """Bit for bit: the same stream, the same steps, the same ledger."""
    base, x, y = robust_digits
    defense = purified(nn.Identity(), base)

    by_pgd, one = attack(PGD(momentum=0.75), defense, x, y, threat)
    by_bpda, other = attack(BPDA(), defense, x, y, threat)

    assert 3 < (base(by_bpda).argmax(1) != y).sum() < 29
    assert torch.equal(by_bpda, by_pgd)
    assert torch.equal(other.forwards, one.forwards)
    assert torch.equal(other.backwards, one.backwards)


def test_a_success_is_known_to_the_oracle_it_came_from(attack, halfspace, images):
    """The answers are those of the defense itself, so a row that breaks is closed, and stops costing."""
    base, x = halfspace(), images(8)
    defense = purified(Round(), base)
    y = defense.model(x).argmax(1)
    eps = base.distance(x, y, "Linf").median().item()

    x_adv, oracle = attack(BPDA(), defense, x, y, f"Linf:{eps:.4f}")

    broken = defense.model(x_adv).argmax(1) != y
    left = oracle.open(torch.arange(8))
    assert set(broken.logical_not().nonzero().squeeze(1).tolist()) == set(left.tolist())
    assert 0 < broken.sum() < 8
    assert (oracle.backwards[broken] < 21).all()


def test_a_random_purifier_is_averaged_over_its_draws(attack, halfspace, images):
    """Twenty draws behind every gradient, each counted once."""
    base, x = halfspace(), images(4)
    y = base(x).argmax(1)
    defense = purified(Noise(), base, stochastic=True)

    _, oracle = attack(BPDA(steps=3), defense, x, y, "Linf:0.0001")

    assert (oracle.backwards == 4 * 20).all()


def test_a_declared_surrogate_takes_the_place_of_the_identity(attack, halfspace, images):
    """The answers stay those of the model, and the gradient is the stand-in's."""
    model, x = halfspace(), images(8)

    class Steep(nn.Module):
        """The model's own decisions, spoken in steps."""

        def forward(self, x):
            return (model(x) * 4).round() / 4

    defense = Defense(Steep().eval(), surrogate=model)
    y = defense.model(x).argmax(1)
    threat = f"Linf:{1.5 * model.distance(x, model(x).argmax(1), 'Linf').max().item():.4f}"

    x_adv, _ = attack(BPDA(), defense, x, y, threat)

    assert (defense.model(x_adv).argmax(1) != y).all()
