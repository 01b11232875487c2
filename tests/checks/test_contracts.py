"""Plug-ins that break a contract on purpose, and what is said of them; one that keeps them all."""

import random
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from bench.catalogue.refs import AttackRef
from bench.catalogue.registry import AttackEntry
from bench.checks.contracts import attack as attacks
from bench.checks.contracts import defense as defenses
from bench.checks.contracts.contract import hold, named
from bench.checks.contracts.models import robust_digits
from bench.checks.contracts.trial import Candidate, Trial
from bench.checks.examination import ExaminedImages
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.oracle.answers import margin
from bench.oracle.attack import traits_of
from bench.oracle.geometry import project
from bench.types import Defense


@dataclass(frozen=True)
class Sound:
    """Ascent of the margin in steps of a quarter of eps; keeps every contract."""

    steps: int = 20

    families = ("Linf",)
    eot = 20

    def cost(self):
        return self.steps + 1, self.steps + 1

    def __call__(self, oracle, x, y, threat, *, stream):
        rows = torch.arange(len(x))
        x_adv = self.start(x.clone(), threat, stream)
        for step in range(self.steps + 1):
            reply = oracle.gradient(x_adv[rows], y[rows], margin, rows, eot=self.eot)
            left = self.left(oracle, rows)
            rows, grad = rows[left], reply.grad[left]
            if step == self.steps or not len(rows):
                break
            x_adv[rows] = self.moved(x_adv[rows], grad, x[rows], threat)
        return x_adv

    def start(self, x, threat, stream):
        return x

    def left(self, oracle, rows):
        return torch.isin(rows, oracle.open(rows))

    def moved(self, x_adv, grad, x, threat):
        return project(x_adv + float(threat.eps) / 4 * grad.sign(), x, threat)


class LeavesTheBall(Sound):
    def moved(self, x_adv, grad, x, threat):
        return (x_adv + float(threat.eps) * grad.sign()).clamp(0, 1)


class LeavesTheBox(Sound):
    def moved(self, x_adv, grad, x, threat):
        return x + float(threat.eps) * grad.sign()


class OfAnotherType(Sound):
    def __call__(self, *given, stream):
        return super().__call__(*given, stream=stream).double()


class DrawsFromTorch(Sound):
    def start(self, x, threat, stream):
        return project(x + float(threat.eps) * (2 * torch.rand(x.shape) - 1), x, threat)


class DrawsFromNumpy(Sound):
    def start(self, x, threat, stream):
        return project(x + float(threat.eps) * (2 * torch.from_numpy(np.random.rand(*x.shape)).float() - 1), x, threat)  # noqa: NPY002


class DrawsFromPython(Sound):
    def start(self, x, threat, stream):
        return project(x + float(threat.eps) * (2 * random.random() - 1), x, threat)


class SeedsTorch(Sound):
    """The same numbers every time, and nobody else's are left."""

    def start(self, x, threat, stream):
        torch.manual_seed(0)
        return project(x + float(threat.eps) * (2 * torch.rand(x.shape) - 1), x, threat)


class WorksInPlace(Sound):
    def __call__(self, oracle, x, y, threat, *, stream):
        x.copy_(super().__call__(oracle, x, y, threat, stream=stream))
        return x


class ChangesLabels(Sound):
    def __call__(self, oracle, x, y, threat, *, stream):
        x_adv = super().__call__(oracle, x, y.clone(), threat, stream=stream)
        y.add_(1)
        return x_adv


class FollowsTheMean(Sound):
    def moved(self, x_adv, grad, x, threat):
        return super().moved(x_adv, grad.mean(0, keepdim=True), x, threat)


class NumbersTheBatch(Sound):
    """Random numbers by the place in the batch instead of by the example."""

    def start(self, x, threat, stream):
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
        return project(x + float(threat.eps) * (2 * noise - 1), x, threat)


class AsksTheModel(Sound):
    def start(self, x, threat, stream):
        return x

    def __call__(self, oracle, x, y, threat, *, stream):
        with torch.no_grad():
            oracle._defense.model(x)
        return super().__call__(oracle, x, y, threat, stream=stream)


class SaysItIsByScore(Sound):
    access = "score"


class TakesAGradientByScore(Sound):
    access = "score"

    def __call__(self, oracle, x, y, threat, *, stream):
        at = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(margin(oracle._run(at), y).sum(), at)
        oracle.logits(x, torch.arange(len(x)))  # so that the forwards add up
        return project(x + float(threat.eps) * grad.sign(), x, threat)


class FailsOnWrongImages(Sound):
    def __call__(self, oracle, x, y, threat, *, stream):
        wrong = oracle.gradient(x, y, margin, torch.arange(len(x))).success
        if wrong.any():
            raise ValueError("these are wrong already")
        return super().__call__(oracle, x, y, threat, stream=stream)


class NeedsTenClasses(Sound):
    def __call__(self, oracle, x, y, threat, *, stream):
        oracle.logits(x, torch.arange(len(x))).topk(9)
        return super().__call__(oracle, x, y, threat, stream=stream)


class HandsInTheImage(Sound):
    def __call__(self, oracle, x, y, threat, *, stream):
        super().__call__(oracle, x, y, threat, stream=stream)
        return x.clone()


class NeverMoves(Sound):
    def __call__(self, oracle, x, y, threat, *, stream):
        return x.clone()


class WalksDownhill(Sound):
    def moved(self, x_adv, grad, x, threat):
        return super().moved(x_adv, -grad, x, threat)


class GoesOnAfterwards(Sound):
    """Sees images broken, and hands in a point it has not asked about."""

    def __call__(self, oracle, x, y, threat, *, stream):
        found = super().__call__(oracle, x, y, threat, stream=stream)
        return x + 0.3 * (found - x)


class RefusesNoise(Sound):
    def __call__(self, oracle, x, y, threat, *, stream):
        if oracle.stochastic:
            raise ValueError("one answer only")
        return super().__call__(oracle, x, y, threat, stream=stream)


class DeclinesNoise(RefusesNoise):
    not_for: ClassVar = {"stochastic": "it takes one answer for the truth"}


class StepsThatDoNotShrink(Sound):
    def moved(self, x_adv, grad, x, threat):
        return (x_adv + 0.2 * grad.sign()).clamp(0, 1)


class GivesUpOnLargeBalls(Sound):
    def moved(self, x_adv, grad, x, threat):
        return super().moved(x_adv, grad, x, threat) if float(threat.eps) < 0.2 else x_adv


class WorseWithMoreSteps(Sound):
    def moved(self, x_adv, grad, x, threat):
        return super().moved(x_adv, grad, x, threat) if self.steps < 10 else x_adv


class MovesOnePixel(Sound):
    def moved(self, x_adv, grad, x, threat):
        first = torch.zeros_like(grad)
        first[:, :, 4, 4] = grad[:, :, 4, 4]
        return super().moved(x_adv, first, x, threat)


class CostsMoreThanItSays(Sound):
    def cost(self):
        return 10, 10


class SaysWhatNobodyUnderstands(Sound):
    access = "logits"
    families = ("Linf", "L3")


def candidate(kind):
    """An attack as `bench test-plugin` takes it from a file."""
    said = traits_of(kind())
    entry = AttackEntry(
        "mine",
        "mine.py:attack",
        "",
        "",
        said.families,
        said.forwards,
        said.backwards,
        said.access,
        eot=said.eot,
        not_for=said.not_for,
    )
    return Candidate(entry, AttackRef(kind.__name__, "mine.py:attack", kind.__name__, said.access), kind)


def held(kind, contract, family="Linf"):
    return hold(named(attacks.CONTRACTS, contract), Trial(candidate(kind), family))


@pytest.mark.parametrize("contract", [each.name for each in attacks.CONTRACTS])
def test_an_attack_that_is_sound_keeps_every_contract(contract):
    found = held(Sound, contract)

    assert (found.verdict, found.remedy) == ("pass", ""), found.seen


BREACHES = [
    (SaysWhatNobodyUnderstands, "traits", "'L3' is none of Linf.*access='logits' must be one of gradient, score"),
    (LeavesTheBall, "threat", "V04: 3 of 3 examples leave Linf:0.12"),
    (LeavesTheBox, "threat", "V03: x_adv leaves"),
    (OfAnotherType, "threat", "V01: x_adv is torch.float64"),
    (DrawsFromTorch, "untouched", "changed: torch's global generator"),
    (DrawsFromTorch, "repeats", "3 of 3 proposals are others"),
    (DrawsFromNumpy, "untouched", "changed: numpy's global generator"),
    (DrawsFromNumpy, "repeats", "proposals are others"),
    (DrawsFromPython, "untouched", "changed: random's global generator"),
    (DrawsFromPython, "repeats", "proposals are others"),
    (SeedsTorch, "untouched", "changed: torch's global generator"),
    (WorksInPlace, "untouched", "changed: the images x"),
    (ChangesLabels, "untouched", "changed: the labels y"),
    (FollowsTheMean, "batches", "of 13 (verdicts|proposals) depend on which images share a batch"),
    (NumbersTheBatch, "batches", "of 13 (verdicts|proposals) depend on which images share a batch"),
    (AsksTheModel, "access", "the defense has seen .* forwards that the oracle knows"),
    (SaysItIsByScore, "access", "registered as score-based and asked for a gradient"),
    (TakesAGradientByScore, "access", "it is score-based, and 3 images were differentiated"),
    (FailsOnWrongImages, "wrong-before", "raised ValueError: these are wrong already"),
    (NeedsTenClasses, "few-classes", "raised RuntimeError: selected index k out of range"),
    (NeverMoves, "able", "V13: cannot attack: it hands in as they were 8"),
    (WalksDownhill, "able", "V13: cannot attack: it breaks 0 of 8 images"),
    (HandsInTheImage, "returns", "16 images were seen broken and handed in at a point where they are right"),
    (GoesOnAfterwards, "returns", "seen broken and handed in at a point where they are right"),
    (WalksDownhill, "returns", "breaks none of 16 digits"),
    (RefusesNoise, "stochastic", "raised ValueError: one answer only"),
    (WalksDownhill, "stochastic", "only 0 of 6 images"),
    (StepsThatDoNotShrink, "tiny-eps", "eps 1e-6 breaks . of 8"),
    (GivesUpOnLargeBalls, "larger-eps", "of 16 robust at Linf:0.12, 16 at Linf:0.24"),
    (WorseWithMoreSteps, "more-work", "of 16 robust, 16 with three times the steps"),
    (MovesOnePixel, "undefended", "leaves .* of 12 digits"),
    (CostsMoreThanItSays, "cost", "21 forwards for an image that never breaks, 10 are declared"),
    (CostsMoreThanItSays, "cost-stochastic", "420 forwards for an image that never breaks, 200 are declared"),
]


@pytest.mark.parametrize(
    ("kind", "contract", "seen"), BREACHES, ids=[f"{each[0].__name__}-{each[1]}" for each in BREACHES]
)
def test_a_breach_is_seen_and_told_with_a_remedy(kind, contract, seen):
    found = held(kind, contract)

    assert found.verdict == "fail", found.seen
    assert re.search(seen, found.seen), found.seen
    assert found.remedy


def test_every_contract_has_an_attack_that_breaks_it():
    assert {contract for _, contract, _ in BREACHES} == {each.name for each in attacks.CONTRACTS}


def test_what_an_attack_declines_is_not_held_against_it():
    found = held(DeclinesNoise, "stochastic")

    assert (found.verdict, found.seen) == ("n/a", "it takes one answer for the truth")


def test_an_attack_without_a_proof_is_told_what_is_missing_outside_the_balls():
    found = held(Sound, "threat", "stadv")

    assert found.verdict == "fail"
    assert "it has no `propose` and `violations`" in found.seen


def test_a_contract_that_nobody_has_heard_of_is_a_mistake():
    with pytest.raises(BenchError, match="no contract is called 'fair'"):
        named(attacks.CONTRACTS, "fair")


class Behind(nn.Module):
    """A trained network behind something."""

    def __init__(self):
        super().__init__()
        self.net = robust_digits().model

    def forward(self, x):
        return self.net(self.before(x))

    def before(self, x):
        return x


class ScaledTo255(Behind):
    def before(self, x):
        return x / 255


class Centred(Behind):
    def before(self, x):
        return x - x.mean(0) + 0.3


class Detached(Behind):
    def before(self, x):
        return x.detach()


class InPlace(Behind):
    def before(self, x):
        return x.mul_(0.5)


class Noisy(Behind):
    def before(self, x):
        return x + 0.1 * torch.randn_like(x)


class OwnGenerator(Behind):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def before(self, x):
        return x + 0.1 * torch.randn(x.shape, generator=self.generator)


class Counting(Behind):
    def __init__(self):
        super().__init__()
        self.asked = 0

    def before(self, x):
        self.asked += 1
        return x + 0.01 * self.asked


class StaysInTraining(Behind):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def before(self, x):
        return self.norm(x)

    def train(self, mode=True):
        super().train(mode)
        self.norm.train()
        return self


class Probabilities(Behind):
    def forward(self, x):
        return self.net(x).softmax(1)


class NotANumber(Behind):
    def forward(self, x):
        return self.net(x) * torch.nan


class HoldsATensor(Behind):
    def __init__(self):
        super().__init__()
        self.shift = torch.zeros(1, 1, 8, 8)

    def before(self, x):
        return x + self.shift


class HoldsAListOfLayers(Behind):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Identity()]


class DrawsItsWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)


def subject(make, declared=None):
    data = digits("test")
    return defenses.DefenseTrial(make, ExaminedImages(data.first(64), data.part(64, 128)), 0.2, declared=declared)


def of(module, **said):
    return lambda: Defense(module().eval(), **said)


DEFENSES = [
    ("logits", subject(of(NotANumber)), "S01"),
    ("randomness", subject(of(Noisy), declared=False), "S03: forward is random, but declared deterministic"),
    ("randomness", subject(of(Noisy, stochastic=True), declared=False), "S03: its answers change with the seed"),
    ("randomness", subject(of(OwnGenerator, stochastic=True)), "S03: randomness ignores torch, numpy and random seeds"),
    ("batches", subject(of(Centred)), "S04: logits of sample"),
    ("history", subject(of(Counting)), "S05|S03"),
    ("eval-mode", subject(of(StaysInTraining)), "S07: norm is in train mode"),
    ("input", subject(of(InPlace)), "S08: defense modified its input in place"),
    ("gradient", subject(of(Detached)), "S09"),
    ("scores", subject(of(Probabilities)), "S12: outputs are probabilities"),
    ("images", subject(of(ScaledTo255)), "S14"),
    ("loads-alike", subject(of(DrawsItsWeights)), "built twice, it gives two sets of answers"),
    ("moves", subject(of(HoldsATensor)), "^shift would stay where it is"),
    ("moves", subject(of(HoldsAListOfLayers)), "^layers would stay where it is"),
    (
        "parts",
        subject(lambda: Defense(Behind().eval(), purifier=nn.Hardtanh(0, 0.5), base=Behind().eval())),
        r"base\(purifier\(x\)\) differs from model\(x\)",
    ),
]


@pytest.mark.parametrize(
    ("contract", "broken", "seen"), DEFENSES, ids=[f"{each[0]}-{index}" for index, each in enumerate(DEFENSES)]
)
def test_a_defense_that_breaks_a_contract_is_seen(contract, broken, seen):
    found = hold(named(defenses.CONTRACTS, contract), broken)

    assert found.verdict == "fail", found.seen
    assert re.search(seen, found.seen), found.seen
    assert found.remedy


def test_every_contract_has_a_defense_that_breaks_it():
    assert {contract for contract, _, _ in DEFENSES} == {each.name for each in defenses.CONTRACTS}


def test_a_defense_that_is_sound_keeps_every_contract():
    sound = subject(lambda: Defense(Behind().eval(), purifier=nn.Identity(), base=Behind().eval()), declared=False)

    found = list(defenses.held(sound))

    assert {each.contract: each.seen for each in found if each.verdict != "pass"} == {}


def test_randomness_that_is_declared_or_found_out_is_no_breach():
    for declared in (True, None):
        found = hold(named(defenses.CONTRACTS, "randomness"), subject(of(Noisy, stochastic=True), declared=declared))

        assert found.verdict == "pass", found.seen
