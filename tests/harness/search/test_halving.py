"""The search itself, on attacks whose strength and price are made up: what goes on, and what is spent."""

import random
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef
from bench.catalogue.request import Request
from bench.harness.search.halving import Candidate, random_search, rungs, successive_halving
from bench.harness.search.spending import Budget
from bench.results.outcome import Cost, Done, Verdicts


def candidate(name, price=5):
    """An attack that takes at most `price` forwards and as many backwards per image."""
    ref = AttackRef(name, "", name, forwards=price, backwards=price)
    return Candidate((Request(name, {}),), ref, stochastic=False)


@dataclass
class Made:
    """Images, each broken by the attacks of a set; attacks cost between a half and all of their price."""

    broken_by: list
    failing: dict = field(default_factory=dict)
    depths: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    said: list = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def attack(self, candidates, start, stop):
        return [self._one(each, start, stop) for each in candidates]

    def _one(self, each, start, stop):
        names = [request.name for request in each.attacks]
        self.calls.append((tuple(names), start, stop))
        if names[0] in self.failing:
            return self.failing[names[0]]
        right = [not set(names) & set(who) for who in self.broken_by[start:stop]]
        passes = sum(self.chance.randint(each.ref.forwards, 2 * each.ref.forwards) for _ in right)
        verdicts = Verdicts(1, np.ones(len(right), np.uint8), np.array(right, np.uint8))
        return Done(verdicts, Cost(passes, 0))

    def depth(self, each, start, stop):
        return self.depths.get(each.attacks[0].name, 0.0)

    def joined(self, attacks):
        price = 5 * len(attacks)
        return Candidate(tuple(attacks), AttackRef("both", "", "", forwards=price, backwards=price), stochastic=False)

    def tell(self, text):
        self.said.append(text)


def weak(numbers=None):
    """Attacks without end that break nothing."""
    return (candidate(f"weak-{index}") for index in (numbers or count()))


@pytest.mark.parametrize(
    ("n", "ends"), [(64, [8, 16, 32, 64]), (20, [10, 20]), (15, [15]), (1, [1]), (100, [12, 25, 50, 100])]
)
def test_rungs_double_and_none_has_too_few_images(n, ends):
    assert rungs(n) == ends


@pytest.mark.parametrize("search", [successive_halving, random_search])
@pytest.mark.parametrize("total", [0, 7, 400, 1500, 5000, 60_000])
def test_no_more_is_spent_than_there_is(search, total):
    """Prices are known as bounds alone: what is spent is at most the budget, and is what was paid for."""
    ground, chance, budget = Made([()] * 32), random.Random(1), Budget(total)

    tried = search((candidate(f"a-{index}", chance.choice([1, 5, 40])) for index in count()), ground, 32, budget)

    assert budget.spent <= total
    assert sum(each.passes for each in tried) == budget.spent
    assert (len(tried) > 0) == (total >= 400)


def test_the_better_half_goes_on_to_images_it_has_not_seen():
    """Of 16 attacks 8, 4 and 2 see the next images; the strongest stays to the end, and sees each image once."""
    ground = Made([("strong",)] * 64)
    names = [f"weak-{index}" for index in range(15)] + ["strong"]

    tried = successive_halving(map(candidate, names), ground, 64, Budget(10**6))

    seen = {name: [part[1:] for part in ground.calls if part[0] == (name,)] for name in names}
    reached = sorted((parts[-1][1] for parts in seen.values()), reverse=True)
    assert reached == [64] * 2 + [32] * 2 + [16] * 4 + [8] * 8
    assert seen["strong"] == [(0, 8), (8, 16), (16, 32), (32, 64)]
    assert tried[0].candidate.label == "strong"
    assert (tried[0].accuracy, tried[0].images) == (0.0, 64)


def test_random_search_shows_every_attack_all_images():
    ground = Made([("strong",)] * 32)

    tried = random_search(map(candidate, ["weak", "strong"]), ground, 32, Budget(10**6))

    assert [part for _, *part in ground.calls] == [[0, 32]] * 2
    assert [each.candidate.label for each in tried] == ["strong", "weak"]


def test_two_attacks_that_break_different_images_are_found_together():
    """Neither leaves less than half; in turn they leave nothing, and the third adds nothing."""
    ground = Made([("even",), ("odd",)] * 8 + [("even", "third")] * 2)

    best, *_ = successive_halving(map(candidate, ["even", "odd", "third"]), ground, 18, Budget(10**6))

    assert {each.name for each in best.candidate.attacks} == {"even", "odd"}
    assert best.accuracy == 0


def test_attacks_that_leave_the_same_are_told_apart_by_how_far_they_came():
    """Nothing breaks: the one that came nearest to the boundary goes on, not the first."""
    depths = {f"weak-{index}": -9.0 + index for index in range(8)}
    ground = Made([()] * 32, depths=depths)

    best, *_ = successive_halving(weak(range(8)), ground, 32, Budget(10**6))

    assert best.candidate.label == "weak-7"


def test_what_fails_or_is_meaningless_is_left_out_with_its_reason():
    """What a failed attack took is not known, so all that it might have taken counts as spent."""
    ground, budget = Made([("good",)] * 8, failing={"bad": "ValueError: no"}), Budget(10**4)
    odd = Candidate((Request("odd", {}),), AttackRef("odd", "", ""), stochastic=False, meaningless="needs a base")

    tried = successive_halving(iter([odd, candidate("bad"), candidate("good")]), ground, 8, budget)

    assert [each.candidate.label for each in tried if not each.reason] == ["good"]
    assert {each.candidate.label: each.reason for each in tried if each.reason} == {
        "odd": "needs a base",
        "bad": "ValueError: no",
    }
    assert ("odd",) not in {names for names, *_ in ground.calls}
    assert budget.spent == 8 * 10 + tried[0].passes


def test_failures_that_cost_nothing_do_not_go_on_for_ever():
    """An attack of no passes that fails: the search ends all the same, with nothing."""
    ground = Made([()] * 8, failing={"free": "V13: no"})

    tried = successive_halving((candidate("free", 0) for _ in count()), ground, 8, Budget(100))

    assert all(each.reason for each in tried)


def test_an_attack_is_seen_to_the_end_before_anything_is_saved_for_sequences():
    """On the last 16 of 32 images it may take 32 of the 60 that there are; four fifths of them leave too little."""
    ground, budget = Made([("good",)] * 32), Budget(60)

    best, *others = successive_halving(iter([candidate("good", 1)]), ground, 32, budget)

    assert (best.images, others) == (32, [])
    assert 32 <= budget.spent <= 60
