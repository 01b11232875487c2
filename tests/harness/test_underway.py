"""Cells under way: what is tried again, what fails, and that no cell waits for another."""

from dataclasses import replace

import pytest

from bench.harness.task import Cause, Report, compute
from bench.results.outcome import Done, Failed
from tests.harness.toy import DEFENSE, LOCAL, documents, fill


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(DEFENSE)
    return path


class Losing:
    """An executor that loses the process of some tasks: those that `faults` names a cause for."""

    def __init__(self, faults):
        self.faults, self.begun = faults, []

    def run(self, agenda, on_pass):
        while (task := agenda.take()) is not None:
            self.begun.append(task)
            cause = self.faults(task)
            if cause is None:
                yield compute(task, "cpu", lambda _: None)
            else:
                yield Report(task, None, f"the process was {cause.value}", cause=cause)


def only_first(cause):
    return lambda task: cause if task.attempt == 0 else None


@pytest.mark.parametrize("cause", [Cause.LOST, Cause.KILLED])
def test_a_task_whose_process_is_lost_is_tried_once_more_with_the_same_result(tmp_path, source, cause):
    fill(tmp_path / "whole", LOCAL, f"{source}:noisy")
    losing = Losing(only_first(cause))

    fill(tmp_path / "lost", losing, f"{source}:noisy")

    assert documents(tmp_path / "lost") == documents(tmp_path / "whole")
    assert len(losing.begun) == 2 * 2 * 3  # two cells of three shards, each begun twice


def test_a_task_that_is_lost_twice_fails_its_cell_and_no_more_of_it_is_begun(tmp_path, source):
    losing = Losing(lambda task: Cause.LOST if task.cell.attack.label == "fgsm" else None)

    results, *_ = fill(tmp_path / "r", losing, source)

    outcomes = {each.cell.attack.label: each.outcome for each in results}
    assert outcomes["fgsm"] == Failed("the process was lost")
    assert isinstance(outcomes["pgd-20[steps=3]"], Done)
    begun = [task for task in losing.begun if task.cell.attack.label == "fgsm"]
    assert max(task.attempt for task in begun) == 1
    assert len({task.index for task in begun}) == len(begun) - 1  # one of them twice, the others at most once


def test_memory_that_runs_out_halves_the_batch_twice_and_then_fails(tmp_path, source):
    fill(tmp_path / "whole", LOCAL, source)
    losing = Losing(lambda task: Cause.MEMORY if task.halvings < 2 else None)
    fill(tmp_path / "halved", losing, source)
    assert documents(tmp_path / "halved") == documents(tmp_path / "whole")

    losing = Losing(lambda task: Cause.MEMORY)
    results, *_ = fill(tmp_path / "failed", losing, source)
    assert all(isinstance(each.outcome, Failed) for each in results)
    assert max(task.halvings for task in losing.begun) == 2


def test_a_stochastic_defense_is_never_asked_in_smaller_batches(tmp_path, source):
    losing = Losing(lambda task: Cause.MEMORY)

    results, *_ = fill(tmp_path / "r", losing, f"{source}:noisy")

    assert all(isinstance(each.outcome, Failed) for each in results)
    assert {task.halvings for task in losing.begun} == {0}


def test_a_guest_that_hangs_is_not_tried_on_other_cells(tmp_path, source):
    """Each cell would cost the whole timeout once more."""
    losing = Losing(lambda task: Cause.HUNG)

    results, watcher, *_ = fill(tmp_path / "r", losing, source, attacks="fgsm,pgd-20[steps=3],pgd-20[steps=4]")

    assert len(losing.begun) == 1
    first = losing.begun[0].cell.attack.label
    for each in results:
        wanted = "the process was hung"
        if each.cell.attack.label != first:
            wanted = f"not tried after {first}: {wanted}"
        assert each.outcome == Failed(wanted)
    assert len(watcher.ended) == 3


def test_an_error_of_the_defense_is_not_tried_again(tmp_path, source):
    losing = Losing(lambda task: Cause.ERROR)

    fill(tmp_path / "r", losing, source)

    assert len(losing.begun) == 2


def test_an_alarm_is_answered_while_other_cells_are_still_waiting(tmp_path, source, monkeypatch):
    """No barrier: the tasks that an alarm adds cost more than the rest, and are begun before it."""
    from bench.harness import underway

    asked = []

    def late(cell, shards):
        asked.append(cell.attack.label)
        return [0] if asked.count(cell.attack.label) == 1 and cell.attack.label != "fgsm" else []

    monkeypatch.setattr(underway, "unaware", late)
    monkeypatch.setattr(underway, "at_the_cost_of", lambda before, after: after)
    losing = Losing(lambda task: None)
    monkeypatch.setattr("bench.harness.task.with_reserve", lambda attack: attack)
    monkeypatch.setattr("bench.harness.task.told", lambda attack, done: done)

    fill(tmp_path / "r", losing, source)

    kinds = [(task.cell.attack.label, task.alarm) for task in losing.begun]
    assert kinds.index(("pgd-20[steps=3]", True)) < kinds.index(("fgsm", False))


def test_a_task_that_was_lost_after_its_cell_failed_is_left(tmp_path, source):
    """The report of a shard that was on its way when another one failed."""

    class Late(Losing):
        def run(self, agenda, on_pass):
            tasks = list(iter(agenda.take, None))
            self.begun += tasks
            for task in tasks:
                yield Report(task, None, "broken", cause=Cause.ERROR)
                yield Report(replace(task), None, "lost", cause=Cause.LOST)
            assert not agenda

    results, *_ = fill(tmp_path / "r", Late(None), source)

    assert all(each.outcome == Failed("broken") for each in results)
