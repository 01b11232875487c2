"""Outcomes: verdicts and costs, joined over shards and over attacks."""

from __future__ import annotations

import itertools

import numpy as np

from bench.results.outcome import Component, Cost, Done, Evidence, Ledger, Verdicts, joined, worst_case
from bench.results.passes import StoredPasses, as_text
from bench.results.store import Store
from tests.report.costly import done, make_cell


def test_the_ledgers_of_shards_follow_each_other():
    """Examples in order; components and alarms add up."""
    whole = joined([done(sampled=1), done(forwards=(5, 6), escalated=2)])

    assert whole.ledger.forwards == (3, 0, 5, 6)
    assert whole.ledger.components == {"pgd": Component(Cost(14, 4, 2), 4, 2)}
    assert (whole.evidence.sampled, whole.evidence.escalated) == (1, 2)


def test_every_field_of_many_shards_is_that_of_the_whole_cell():
    """Cut anywhere: positions are those of the cell, and sums those of all its examples."""
    draw = np.random.default_rng(0)
    n = 60
    counts = draw.integers(0, 2, (2, n)).astype(np.uint8)
    forwards, backwards = draw.integers(0, 400, (2, n)).tolist()
    distances = [None if each < 0.2 else each for each in draw.random(n).tolist()]
    near = sorted(draw.choice(n, 9, replace=False).tolist())
    for cuts in ([0, n], [0, 1, n], [0, 7, 7, 30, n], list(range(n + 1))):
        shards = []
        for start, stop in itertools.pairwise(cuts):
            part = slice(start, stop)
            cost = Cost(sum(forwards[part]), sum(backwards[part]))
            evidence = Evidence(
                stop - start,
                2 * (stop - start),
                tuple(each - start for each in near if start <= each < stop),
                tuple(distances[part]),
                unable=("fab",) if start % 2 else ("apgd-t", "fab"),
            )
            ledger = Ledger(
                {"pgd": Component(cost, stop - start, 0)}, StoredPasses(as_text(forwards[part])), backwards[part]
            )
            shards.append(Done(Verdicts(1, *counts[:, part]), cost, evidence, ledger))
        whole = joined(shards)

        assert np.array_equal(np.stack([whole.verdicts.clean, whole.verdicts.adversarial]), counts)
        assert whole.evidence == Evidence(n, 2 * n, tuple(near), tuple(distances), unable=("apgd-t", "fab"))
        assert whole.ledger.forwards == tuple(forwards)
        assert whole.ledger.backwards == tuple(backwards)
        assert whole.cost == Cost(sum(forwards), sum(backwards))
        assert whole.ledger.components == {"pgd": Component(whole.cost, n, 0)}


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
