"""No attack of the space ever takes more passes than the search reckons with, whatever is suspected and confirmed."""

import random

import pytest
from torch import nn

from bench.catalogue import resolve
from bench.catalogue.loading import load_attack
from bench.catalogue.request import Request
from bench.catalogue.search_space import SPACE
from bench.harness.search.spending import Budget, most_passes, usual_passes
from bench.oracle.oracle import Oracle
from bench.threats import ThreatModel
from bench.types import Defense


class Same(nn.Module):
    """A purifier that changes nothing."""

    def forward(self, x):
        return x.clone()


def noisy(halfspace, noise):
    model = halfspace(noise)
    return Defense(model, stochastic=True, base=model.halfspace, purifier=Same(), derandomized=model.halfspace)


@pytest.mark.parametrize("family", [each for each in SPACE if "stochastic" in each.kinds], ids=lambda each: each.name)
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_stochastic_defense_is_never_asked_more_often(noisy_halfspace, images, stream, family, noise):
    """With little noise every query is suspected and confirmed; with more, hardly any suspect is confirmed."""
    x, threat, chance = images(3), ThreatModel.parse("Linf:0.04"), random.Random(0)
    defense = noisy(noisy_halfspace, noise)
    y = defense.base(x).argmax(1)

    for _ in range(2):
        request = family.draw(chance, stochastic=True)
        _, ref = resolve.attack(request)
        oracle = Oracle(defense, len(x), scope=("test", request.label), access=ref.access)
        load_attack(ref)(oracle, x, y, threat, stream=stream(len(x), request.label))

        assert 0 < int((oracle.forwards + oracle.backwards).max()) <= most_passes(ref, stochastic=True), request.label


@pytest.mark.parametrize(
    "family", [each for each in SPACE if "deterministic" in each.kinds], ids=lambda each: each.name
)
def test_a_deterministic_defense_is_asked_as_often_as_usual_at_most(halfspace, images, stream, family):
    """Nothing is confirmed there: the bound is the usual number, and an image that holds takes most of it."""
    x, chance = images(4), random.Random(0)
    model = halfspace(classes=10)
    defense = Defense(model, base=model, purifier=Same())
    y = model(x).argmax(1)

    for _ in range(2):
        request = family.draw(chance, stochastic=False)
        _, ref = resolve.attack(request)
        oracle = Oracle(defense, len(x), scope=("test", request.label), access=ref.access)
        load_attack(ref)(oracle, x, y, ThreatModel.parse("Linf:1e-6"), stream=stream(len(x), request.label))

        most = int((oracle.forwards + oracle.backwards).max())
        assert most_passes(ref, stochastic=False) == usual_passes(ref, stochastic=False)
        assert 0.7 * usual_passes(ref, stochastic=False) <= most <= most_passes(ref, stochastic=False), request.label


def test_draws_that_are_asked_for_in_brackets_are_counted():
    """`pgd-20` takes one draw per gradient; with eight it takes eight times as many passes."""
    (one, eight) = (resolve.attack(Request("pgd-20", {"eot": draws}))[1] for draws in ("1", "8"))

    assert usual_passes(one, stochastic=True) == 2 * 21
    assert usual_passes(eight, stochastic=True) == 8 * 2 * 21
    assert usual_passes(eight, stochastic=False) == 2 * 21


def test_a_budget_allows_what_stays_within_a_share_of_it():
    budget = Budget(100, spent=40)

    assert budget.allows(60)
    assert not budget.allows(61)
    assert budget.allows(10, share=0.5)
    assert not budget.allows(11, share=0.5)
