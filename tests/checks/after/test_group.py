"""What is compared with what: of one defense under one threat model, on the images that both attacks saw."""

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.checks.after.group import DefenseUnderThreat, Measured
from bench.results.cell import Cell, Slice
from bench.results.outcome import Done, Verdicts
from bench.threats import ThreatModel

OURS, A_LIBRARY, A_FILE = "bench.attacks.lp.pgd:PGD", "bench.attacks.adapters.foolbox:Foolbox", "./mine.py:build"


def measured(counts, *, draws=1, composite=False, source=OURS, **ref):
    counts = np.asarray(counts, dtype=np.uint8)
    done = Done(Verdicts(draws, np.full_like(counts, draws), counts))
    return Measured(AttackRef("a", source, "a", **ref), done, composite)


def group(*, stochastic=False, draws=1):
    defense = DefenseRef("d", "d", "d", stochastic=stochastic)
    part = Slice("digits", "test", 8, "images")
    cell = Cell(defense, AttackRef("a", OURS, "a"), ThreatModel.parse("Linf:0.1"), part, 0, draws, 8)
    return DefenseUnderThreat(cell, 10, [])


@pytest.mark.parametrize(
    ("told", "is_gradient", "is_black_box"),
    [
        ({}, True, False),
        ({"composite": True}, False, False),
        ({"needs": "bpda"}, False, False),
        ({"access": "score"}, False, True),
        ({"access": "decision"}, False, True),
        ({"needs": "base"}, False, True),
        ({"needs": "derandomized"}, False, True),
        ({"needs": "source"}, False, True),
    ],
    ids=str,
)
def test_an_attack_is_known_by_what_it_asks_of_the_defense(told, is_gradient, is_black_box):
    """A worst case of others follows no gradient itself, and a transfer knows nothing of the defense."""
    attack = measured([1, 0], **told)

    assert (attack.is_gradient, attack.is_black_box) == (is_gradient, is_black_box)


def test_an_attack_is_ours_where_any_code_of_ours_takes_part():
    def stage(source):
        return (AttackRef("s", source, "s"),)

    assert measured([1]).is_ours
    assert not measured([1], source=A_LIBRARY).is_ours
    assert not measured([1], source=A_FILE).is_ours
    assert not measured([1], source="bench.attacks.mine.py:build").is_ours
    assert measured([1], source="", stages=stage(A_LIBRARY), reserve=stage(OURS)).is_ours
    assert not measured([1], source="", stages=stage(A_LIBRARY), reserve=stage(A_FILE)).is_ours


def test_the_accuracy_is_the_mean_over_examples_and_draws():
    assert measured([10, 5, 0, 0], draws=10).accuracy == 15 / 40


def test_the_strongest_on_a_deterministic_defense_is_the_worst_case_per_example():
    one, other, short = measured([1, 1, 0, 0]), measured([1, 0, 1, 0]), measured([0, 0])

    assert group().strongest([one, other, short], 4).tolist() == [1, 0, 0, 0]
    assert group().strongest([one, other, short], 2).tolist() == [0, 0]
    assert group().strongest([short], 4) is None
    assert group().strongest([], 1) is None


def test_the_strongest_on_a_stochastic_defense_is_one_attack_of_them():
    """The least of several noisy counts is below what any of them reaches."""
    one, other = measured([9, 1, 5], draws=10), measured([1, 8, 5], draws=10)

    assert group(stochastic=True, draws=10).strongest([one, other], 3).tolist() == [1, 8, 5]


@pytest.mark.parametrize(("n", "least"), [(64, 2), (1000, 2), (1500, 3), (5000, 10)])
def test_a_challenger_beats_by_two_examples_or_two_of_a_thousand(n, least):
    """What the champion breaks beyond it does not count against it."""
    for more in (least - 1, least):
        champion, challenger = np.ones(n, dtype=np.int64), np.ones(n, dtype=np.int64)
        challenger[:more] = 0
        champion[-1] = 0

        assert group().beaten(champion, challenger) == (more if more >= least else 0)


def test_only_images_that_both_saw_are_compared():
    champion, challenger = np.ones(4, dtype=np.int64), np.array([0, 0, 1, 1, 0, 0, 0])

    assert group().beaten(champion, challenger) == 2
    assert group().beaten(challenger, champion) == 0


def test_on_a_stochastic_defense_a_drop_must_be_large_and_no_chance():
    """The examples it stands for are those draws, rounded; noise around nought and a sliver everywhere are no drop."""
    of, n = group(stochastic=True, draws=10), 100
    full = np.full(n, 10, dtype=np.int64)
    noise = np.resize([1, -1], n)

    assert of.beaten(full, full - 3) == 30
    assert of.beaten(full - 3, full) == 0
    assert of.beaten(full - 5, full - 5 + noise) == 0
    few = full.copy()
    few[:9] -= 1
    assert of.beaten(full, few) == 0  # 0.9 %, whatever its significance
    assert of.beaten(full[:4], full[:4] - 3) == 0  # four examples prove nothing
