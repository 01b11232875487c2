"""The agenda: the most expensive first, guests apart, and nothing that is not wanted any more."""

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.digits import digits
from bench.harness.agenda import Agenda
from bench.harness.pace import Pace
from bench.harness.task import Task
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel

IMAGES = digits("test").first(8)


def task(defense, forwards, *, source="bench.defenses.at:load", index=0):
    ref = DefenseRef(defense, source, defense)
    attack = AttackRef(f"costs-{forwards}", "bench.attacks.lp.fgsm:FGSM", "a", forwards=forwards)
    cell = Cell(ref, attack, ThreatModel.parse("Linf:0.1"), Slice("digits", "test", 8, IMAGES.digest), 0, 1, 4)
    return Task(cell, index, IMAGES.part(*cell.shards[index]))


def drained(agenda, guest=None):
    return [each.cell.attack.forwards for each in iter(lambda: agenda.take(guest), None)]


def test_the_most_expensive_task_goes_first_and_equal_ones_in_order():
    agenda = Agenda()
    for forwards in (3, 40, 5):
        agenda.add(task("at", forwards))
    first, second = task("at", 7), task("at", 7, index=1)
    agenda.add(first)
    agenda.add(second)

    assert len(agenda) == 5
    taken = list(iter(agenda.take, None))
    assert [each.cell.attack.forwards for each in taken] == [40, 7, 7, 5, 3]
    assert taken[1] is first
    assert taken[2] is second
    assert not agenda


def test_cost_is_passes_times_the_seconds_of_one():
    """A hundred passes of a large network outweigh a thousand of a small one."""
    agenda = Agenda(pace=Pace({"large": 1.0, "small": 0.01}))
    agenda.add(task("small", 1000))
    agenda.add(task("large", 100))
    agenda.add(task("nobody timed it", 99))

    assert drained(agenda) == [100, 99, 1000]


def test_a_process_that_serves_a_guest_gets_the_tasks_of_that_guest_alone():
    agenda = Agenda()
    agenda.add(task("mine", 5, source="./mine.py:build"))
    agenda.add(task("at", 50))
    agenda.add(task("mine", 6, source="./mine.py:build"))

    assert drained(agenda, "./mine.py:build") == [6, 5]
    assert agenda.take("./other.py") is None
    assert drained(agenda, "") == [50]


def test_what_is_not_wanted_any_more_is_dropped():
    agenda = Agenda(lambda each: each.cell.attack.forwards != 40)
    for forwards in (3, 40, 5):
        agenda.add(task("at", forwards))

    assert drained(agenda) == [5, 3]
    assert not agenda


def test_tasks_can_be_added_while_others_are_taken():
    agenda = Agenda()
    agenda.add(task("at", 3))
    assert agenda.take().cell.attack.forwards == 3
    agenda.add(task("at", 9))
    assert drained(agenda) == [9]
