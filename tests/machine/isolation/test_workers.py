"""Several processes: each for one guest, and nothing left when nobody listens."""

import contextlib
import os

import pytest

from bench.machine.isolation import Call, Workers, apart, each_apart, isolated


def test_a_process_serves_one_guest(workers):
    """Ours may go before a guest, never after it."""
    with Workers(1, limit=20) as workers:

        def pid(whose):
            return workers.each([Call("odd_guest:pid", guest=whose)])[0].value

        ours = pid("")
        mine = pid("mine")
        assert mine == ours
        theirs = pid("theirs")
        assert theirs != mine
        assert pid("mine") == mine  # it has been kept
        assert pid("") not in (mine, theirs)


def test_calls_run_at_once_and_answers_come_in_order(guest):
    with Workers(2, limit=20) as workers:
        sums = workers.each([Call("odd_guest:add", (number, 1)) for number in range(6)])
        assert [each.value for each in sums] == [1, 2, 3, 4, 5, 6]
        assert len(workers._all) == 2


def test_progress_is_told_while_a_call_is_under_way(workers):
    calls, told = [Call("odd_guest:counting", guest="odd", counts=True, tag="mine")], []

    list(
        workers.answers(
            lambda guest: calls.pop() if calls else None, lambda call, count: told.append((call.tag, count))
        )
    )

    assert len(told) > 1
    assert {tag for tag, _ in told} == {"mine"}
    assert sum(count for _, count in told) == 15


def test_whoever_stops_listening_ends_the_calls_under_way(guest):
    with Workers(1, limit=60) as workers:
        calls = [Call("odd_guest:add", (1, 2)), Call("time:sleep", (60,))]
        answers = workers.answers(lambda guest: calls.pop(0) if calls else None)
        assert next(answers).value == 3
        with contextlib.suppress(StopIteration):
            workers._hand_out(lambda guest: calls.pop(0) if calls else None)
        (busy,) = [worker for worker in workers._all if worker.call is not None]

        answers.close()

        assert not busy.process.is_alive()


def test_without_processes_everything_is_done_here(guest):
    with isolated(None):
        assert apart("odd_guest:pid") == os.getpid()
        assert [each.value for each in each_apart([Call("odd_guest:nothing")])] == [None]
        with pytest.raises(ValueError, match="two"):
            apart("odd_guest:raising")
    with isolated(Workers(1, limit=20)):
        assert apart("odd_guest:pid") != os.getpid()
