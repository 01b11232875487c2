"""Outcomes: verdicts and costs, joined over shards and over attacks."""

from __future__ import annotations

import numpy as np

from bench.results.outcome import Component, Cost, Done, Verdicts, joined, worst_case
from bench.results.store import Store
from tests.report.costly import done, make_cell


def test_the_ledgers_of_shards_follow_each_other():
    """Examples in order; components and alarms add up."""
    whole = joined([done(sampled=1), done(forwards=(5, 6), escalated=2)])

    assert whole.ledger.forwards == (3, 0, 5, 6)
    assert whole.ledger.components == {"pgd": Component(Cost(14, 4, 2), 4, 2)}
    assert (whole.evidence.sampled, whole.evidence.escalated) == (1, 2)


def test_the_ledgers_of_attacks_on_the_same_examples_add_up():
    both = worst_case([done("one"), done("two", forwards=(1, 1), backwards=(0, 1))])

    assert both.ledger.forwards == (4, 1)
    assert both.ledger.backwards == (2, 1)
    assert list(both.ledger.components) == ["one", "two"]
    assert both.cost == Cost(5, 3, 2)


def test_the_store_keeps_the_ledger(tmp_path):
    cell, found = make_cell(), joined([done(), done(escalated=3)])

    Store(tmp_path).finish(cell, [found], {})

    stored = Store(tmp_path).find(cell)
    assert stored.ledger == found.ledger
    assert stored.cost == found.cost
    assert stored.evidence == found.evidence


def test_costs_add_up():
    """The ledger of a cell is the sum over its shards."""
    assert Cost(1, 2) + Cost(30, 40) == Cost(31, 42)


def test_verdicts_count_examples():
    """The length is the number of examples, not of draws."""
    assert len(Verdicts(10, np.zeros(7, np.uint8), np.zeros(7, np.uint8))) == 7


def test_a_worst_case_takes_the_fewest_correct_draws_of_each_example():
    """Neither part is worse everywhere: the minimum is below both, and the passes add up."""
    clean = np.array([10, 10, 9, 0], dtype=np.uint8)
    first = Done(Verdicts(10, clean, np.array([10, 2, 7, 0], dtype=np.uint8)), Cost(5, 3))
    second = Done(Verdicts(10, clean, np.array([4, 8, 7, 0], dtype=np.uint8)), Cost(7, 1))

    both = worst_case([first, second])

    assert both.verdicts.adversarial.tolist() == [4, 2, 7, 0]
    assert both.verdicts.clean.tolist() == clean.tolist()
    assert both.cost == Cost(12, 4)
