"""Shares of a run: disjoint, complete, balanced, and the same on every machine whatever is stored there."""

import random
from dataclasses import replace

import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.harness.share import Share, cost_of, dealt
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel


def some_plan(seed):
    """Cells of a few defenses under attacks whose costs differ by a factor of ten thousand."""
    rng = random.Random(seed)
    part = Slice("digits", "test", rng.randint(1, 60), "s" * 64)
    return [
        Cell(
            DefenseRef(f"d{defense}", "m:f", f"d{defense}", stochastic=defense % 2 == 1),
            AttackRef(f"a{attack}", "m:g", f"a{attack}", forwards=rng.randint(0, 9), backwards=rng.randint(0, 10**5)),
            ThreatModel.parse(rng.choice(["Linf:0.1", "L2:1"])),
            part,
            seed=0,
            draws=1,
            batch=rng.randint(1, 16),
        )
        for defense in range(rng.randint(1, 4))
        for attack in range(rng.randint(1, 6))
    ]


def every_task(plan):
    return {(cell.key, index) for cell in plan for index in range(len(cell.shards))}


@pytest.mark.parametrize("seed", range(40))
def test_the_shares_of_any_plan_are_disjoint_complete_and_balanced(seed):
    plan, of = some_plan(seed), random.Random(-seed).randint(1, 9)
    portions = [Share(index, of).portion(plan) for index in range(1, of + 1)]

    assert sum(map(len, portions)) == len(every_task(plan))
    assert set().union(*(portion.tasks for portion in portions)) == every_task(plan)
    loads = [sum(cost_of(cell, index) for cell in plan for index in portion.of(cell)) for portion in portions]
    largest = max(cost_of(cell, index) for cell in plan for index in range(len(cell.shards)))
    assert max(loads) - min(loads) <= largest
    for cell in plan:
        # Of the full shards no share has two more than another; the last one may be smaller, and has another turn.
        full = [index for index, (start, stop) in enumerate(cell.shards) if stop - start == cell.batch]
        counts = [len(set(portion.of(cell)) & set(full)) for portion in portions]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_a_share_is_the_same_in_whatever_order_the_plan_comes(seed):
    plan = some_plan(seed)
    shuffled = random.Random(seed).sample(plan, len(plan))

    assert [Share(i, 3).portion(plan) for i in (1, 2, 3)] == [
        Share(i, 3).portion([*shuffled, *plan]) for i in (1, 2, 3)
    ]


def test_a_share_is_of_the_same_tasks_where_keys_differ():
    """Answers of a user's code that another machine rounds differently make other keys, but no other shares."""
    plan = some_plan(3)
    other = [replace(cell, defense=replace(cell.defense, digest=f"{cell.defense.digest}, rounded")) for cell in plan]

    def named(hands):
        return [[(cell.title, index) for cell, index in hand] for hand in hands]

    assert named(dealt(plan, 3)) == named(dealt(other, 3))
    assert not every_task(plan) & every_task(other)


def test_of_more_shares_than_tasks_some_have_none():
    plan = some_plan(0)[:1]
    count = len(every_task(plan))

    assert sorted(len(Share(index, count + 2).portion(plan)) for index in range(1, count + 3)) == [0, 0, *[1] * count]


@pytest.mark.parametrize("text", ["1/1", "2/3", "3/3", "1/1000000"])
def test_a_share_is_read_and_written_alike(text):
    assert str(Share.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["5/4", "0/4", "1/0", "0/0", "1-4", "a/b", "", "1", "1/", "/4", "-1/4", "1/4/4", " 1/4", "1/4\n", "1.0/4",
             "²/4", "١/٤", "1/9999999", "1/" + "9" * 40]
)  # fmt: skip
def test_what_is_no_share_is_refused_in_a_line_that_says_the_form(text):
    with pytest.raises(BenchError, match="2/3") as raised:
        Share.parse(text)

    assert "\n" not in str(raised.value)
    assert repr(text) in str(raised.value)
