"""Attacks on a part of the defense: what they propose, and that the whole defense is the judge."""

import dataclasses

import pytest
import torch
from torch import nn

from bench.attacks.lp.pgd import PGD
from bench.attacks.purifiers.transfer import Transfer, TransferFrom
from bench.catalogue import ATTACKS, resolve
from bench.catalogue.loading import load_defense
from bench.catalogue.registry import load
from bench.catalogue.request import Request
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.oracle.geometry import distance
from bench.oracle.oracle import Oracle
from bench.oracle.randomness import preserved_generators, seed_everything
from bench.oracle.variants import offered
from bench.threats import ThreatModel
from bench.types import Defense

THREAT = ThreatModel.parse("Linf:0.05")
LEVELS = 8


class Shrink(nn.Module):
    """A purifier that takes a tenth of the contrast and counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, x):
        self.asked += 1
        return 0.5 + 0.9 * (x - 0.5)


class Round(nn.Module):
    """A purifier that takes every pixel back to the nearest of a few levels."""

    def forward(self, x):
        return (x * LEVELS).round() / LEVELS


def purified(purifier, base):
    return Defense(nn.Sequential(purifier, base).eval(), base=base, purifier=purifier)


@pytest.fixture
def attack(stream):
    """Run an attack on a defense; returns `x_adv` and the oracle with its ledger."""

    def run(method, defense, x, y, threat=THREAT):
        oracle = Oracle(defense, len(x), scope=("test",))
        return method(oracle, x, y, threat, stream=stream(len(x))), oracle

    return run


def test_blind_is_pgd_on_the_base_alone(attack, launch, robust_digits):
    """Bit for bit, where the base holds; the purifier is never asked, and each pass is counted once."""
    (base, x, y), purifier, alike = robust_digits, Shrink(), PGD(steps=40, momentum=0.75)
    holds = base(launch(PGD(steps=100), base, x, y, THREAT)[0]).argmax(1) == y
    x, y = x[holds][:16], y[holds][:16]

    x_adv, oracle = attack(Transfer("base"), purified(purifier, base), x, y, THREAT)
    alone, _ = launch(alike, base, x, y, THREAT)

    assert (base(alone).argmax(1) == y).all()
    assert torch.equal(x_adv, alone)
    assert purifier.asked == 0
    assert oracle.forwards.tolist() == [41] * 16
    assert oracle.backwards.tolist() == [40] * 16  # the last point is only judged


def test_a_transfer_goes_on_beyond_the_boundary_to_the_deepest_point(attack, halfspace, images):
    """Where PGD stops, the transfer takes every step, to the corner of the ball that is furthest in."""
    base, x = halfspace(), images(8)
    y = base(x).argmax(1)
    eps = 1.5 * base.distance(x, y, "Linf").max().item()
    threat = ThreatModel.parse(f"Linf:{eps:.4f}")

    x_adv, oracle = attack(Transfer("base"), purified(Shrink(), base), x, y, threat)

    corner = x + float(threat.eps) * (base.weight[1 - y] - base.weight[y]).sign().view_as(x)
    assert torch.allclose(x_adv, corner.clamp(0, 1), atol=1e-6)
    assert (base(x_adv).argmax(1) != y).all()
    assert oracle.forwards.tolist() == [41] * 8
    assert len(oracle.open(torch.arange(8))) == 8  # whether it transfers is for the judge to say


def test_whether_a_point_transfers_is_for_the_defense_to_say(attack, halfspace, images):
    """The same points: one purifier lets them through, one takes every pixel back to where it was."""
    base = halfspace()
    x = (images(16) * LEVELS).round() / LEVELS
    y = base(x).argmax(1)
    near = base.distance(x, y, "Linf") < 0.04
    x, y = x[near], y[near]
    leaky, tight = purified(Shrink(), base), purified(Round(), base)

    through_leaky, _ = attack(Transfer("base"), leaky, x, y)
    through_tight, _ = attack(Transfer("base"), tight, x, y)

    assert len(x) >= 4
    assert torch.equal(through_leaky, through_tight)
    assert (base(through_leaky).argmax(1) != y).all()
    assert (leaky.model(through_leaky).argmax(1) != y).all()
    assert (tight.model(through_tight).argmax(1) == y).all()


def test_a_transfer_does_not_stop_at_what_the_defense_gave_away(attack, halfspace, images):
    """A row that an earlier query of the defense has shown broken is attacked all the same."""
    base, x = halfspace(), images(4)
    y = base(x).argmax(1)
    defense = purified(Shrink(), base)
    oracle = Oracle(defense, 4, scope=("test",))
    oracle.gradient(x, 1 - y, lambda logits, y: logits[:, 0], torch.arange(4))

    surrogate = oracle.through("base")

    assert len(oracle.open(torch.arange(4))) == 0
    assert len(surrogate.open(torch.arange(4))) == 4


@pytest.mark.parametrize("path", ["bpda", "whole"])
def test_a_path_that_is_no_other_model_is_refused(path):
    """BPDA answers as the defense does: it is an attack of its own, not a transfer."""
    with pytest.raises(BenchError, match=f"unknown path '{path}': .*base"):
        Transfer(path)


def test_a_defense_that_declares_no_base_is_refused(attack, small_cnn, images):
    """One line that names what is missing."""
    x = images(2)

    with pytest.raises(BenchError, match=r"declare Defense\.base"):
        attack(Transfer("base"), Defense(small_cnn()), x, torch.tensor([0, 1]))


class TestFromAnotherDefense:
    """The other defense is attacked; the one that is judged is never asked."""

    def pair(self, halfspace, images, source_weight):
        """A defense and another one, the boundary of the first in the middle of the ball."""
        target, source, x = halfspace(), halfspace(), images(8)
        with torch.no_grad():
            source.weight.copy_(source_weight(target.weight))
        y = target(x).argmax(1)
        eps = 1.5 * target.distance(x, y, "Linf").max().item()
        return target, source, x, y, ThreatModel.parse(f"Linf:{eps:.4f}")

    def test_equal_boundaries_let_every_point_through(self, attack, halfspace, images):
        target, source, x, y, threat = self.pair(halfspace, images, lambda weight: 3 * weight)
        defense = Defense(target, transfer_source=Defense(source))

        x_adv, oracle = attack(TransferFrom(), defense, x, y, threat)

        assert (target(x_adv).argmax(1) != y).all()
        assert (oracle.forwards.tolist(), oracle.backwards.tolist()) == ([41] * 8, [40] * 8)
        assert len(oracle.open(torch.arange(8))) == 8

    def test_boundaries_that_have_nothing_in_common_let_none_through(self, attack, halfspace, images):
        """Each looks at its own half of the pixels."""
        keep = (torch.arange(64) < 32).float()
        target, source, x, y, threat = self.pair(halfspace, images, lambda weight: weight * (1 - keep))
        with torch.no_grad():
            target.weight.mul_(keep)
        # Out of reach of a random start, within reach of an attack that knows the way.
        length = target.distance(x, target(x).argmax(1), "Linf") / float(threat.eps)
        x = x[(length > 0.4) & (length < 1)]
        y = target(x).argmax(1)

        x_adv, _ = attack(TransferFrom(), Defense(target, transfer_source=Defense(source)), x, y, threat)

        assert len(x) >= 2
        assert (source(x_adv).argmax(1) != y).any()
        assert (target(x_adv).argmax(1) == y).all()

    def test_the_defense_that_is_judged_is_never_asked(self, attack, halfspace, images):
        class Mute(nn.Module):
            def forward(self, x):
                raise AssertionError("asked")

        x = images(2)

        x_adv, _ = attack(
            TransferFrom(), Defense(Mute(), transfer_source=Defense(halfspace())), x, torch.tensor([0, 1])
        )

        assert (x_adv != x).any()

    def test_a_stochastic_source_is_averaged_over_its_draws(self, attack, noisy_halfspace, halfspace, images):
        source, x = noisy_halfspace(noise=0.1), images(3)
        defense = Defense(halfspace(), transfer_source=Defense(source, stochastic=True))

        _, oracle = attack(TransferFrom(eot=5), defense, x, source.halfspace(x).argmax(1))

        assert oracle.forwards.tolist() == [5 * 41] * 3

    def test_without_another_defense_there_is_nothing_to_transfer_from(self, attack, halfspace, images):
        with pytest.raises(BenchError, match="no other defense was put beside it"):
            attack(TransferFrom(), Defense(halfspace()), images(2), torch.tensor([0, 1]))

    def test_the_defense_stays_what_it_is(self, halfspace):
        """With another one to transfer from it has the same variants, and one more."""
        mine = Defense(halfspace(), stochastic=True, base=halfspace(), trained_on=(THREAT,))

        both = dataclasses.replace(mine, transfer_source=Defense(halfspace(seed=1)))

        assert set(offered(both)) == {*offered(mine), "source"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blind", "derandomized", "bpda"])
def test_on_shipped_atop_accuracy_falls_as_far_as_the_attack_knows(attack, name):
    """Inside the threat model, and below clean accuracy by a margin that 32 images and 20 draws resolve.

    The defense is right on some 95 % of draws unattacked. Without its transform in the way an attack
    reaches much deeper than one that has never seen the purifier.
    """
    data = digits("test").first(32)
    ref = resolve.defense(Request("atop", {}), "digits", None)
    defense = load_defense(ref, data.spec)
    x, y, threat = torch.from_numpy(data.x), torch.from_numpy(data.y), ThreatModel.parse("Linf:0.2")
    entry = ATTACKS.get(name)

    with preserved_generators():
        x_adv, _ = attack(load(entry.target)(**entry.config), defense, x, y, threat)
        clean, adversarial = _accuracy(defense, x, y), _accuracy(defense, x_adv, y)

    most = {"blind": 0.9, "derandomized": 0.75, "bpda": 0.85}[name]
    assert distance(x_adv, x, "Linf").max() <= 0.2 + 1e-6
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert clean > 0.92
    assert adversarial < most


@torch.no_grad()
def _accuracy(defense, x, y):
    seed_everything("judge")
    return torch.stack([(defense.model(x).argmax(1) == y).float().mean() for _ in range(20)]).mean().item()
