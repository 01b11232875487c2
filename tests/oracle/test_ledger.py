"""The ledger: against a count in plain loops, before and after examples are known to be broken."""

import random

import pytest
import torch

from bench.oracle import ledger
from bench.oracle.ledger import Known, Passes


def test_examples_become_broken_and_stay_so():
    known = Known(4)
    known.add(torch.tensor([2]))
    known.add(torch.tensor([0, 2]))

    assert known.broken.tolist() == [True, False, True, False]
    assert known.breaks == 2


def test_what_was_known_is_never_changed_in_place():
    """Entries of the ledger hold on to it; no examples are no news."""
    known = Known(3)
    before = known.broken
    known.add(torch.tensor([], dtype=torch.int64))

    assert known.broken is before
    assert known.breaks == 0
    known.add(torch.tensor([1]))

    assert not before.any()


@pytest.mark.parametrize("at_once", [1, 7, 1024])
def test_every_pass_is_on_its_example_and_wasted_once_that_is_broken(at_once, monkeypatch):
    """Whenever the notes are added up; rows may come twice in one query."""
    monkeypatch.setattr(ledger, "_AT_ONCE", at_once)
    rng, size = random.Random(0), 5
    known, passes = Known(size), Passes(size)
    expected = {kind: [0] * size for kind in ("forwards", "backwards")}
    wasted, broken = [0] * size, set()
    for step in range(60):
        kind, count = rng.choice(["forwards", "backwards"]), rng.randint(1, 4)
        rows = [rng.randrange(size) for _ in range(rng.randint(0, 6))]
        passes.book(kind, torch.tensor(rows, dtype=torch.int64), count, known)
        for row in rows:
            expected[kind][row] += count
            wasted[row] += count * (row in broken)
        if step % 20 == 10:
            broken.add(step // 20)
            known.add(torch.tensor([step // 20]))

    assert {kind: passes.of(kind).tolist() for kind in expected} == expected
    assert passes.wasted.tolist() == wasted
    assert any(wasted)


def test_passes_of_everybody_are_nobodys_waste():
    passes = Passes(3)
    passes.spread("forwards", 2)

    assert passes.of("forwards").tolist() == [2, 2, 2]
    assert passes.of("backwards").tolist() == passes.wasted.tolist() == [0, 0, 0]


def test_whoever_changes_what_was_told_does_not_change_the_ledger():
    passes = Passes(2)
    passes.spread("forwards", 1)
    passes.of("forwards").zero_()

    assert passes.of("forwards").tolist() == [1, 1]
