"""Inside a process: what a guest does to it does not keep the next call from its answer."""

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.machine.isolation import Call


@pytest.mark.fault("F16")
def test_floods_closed_output_forks_threads_and_children_leave_the_process_usable(answer):
    assert answer("flooding", 200).value == 200  # 20 MB that nobody reads
    assert answer("mute").error is None
    assert answer("flooding", 3).value == 3
    assert answer("forking").value > 0  # one answer, although two processes have run
    assert answer("threading_").error is None
    assert answer("workers").value == 0  # such as those of a DataLoader


def test_the_working_directory_is_the_users_again_after_every_call(answer):
    before = answer("here").value
    answer("elsewhere")

    assert answer("here").value == before == str(Path.cwd())


def test_a_mistake_without_a_word_is_a_mistake(answer):
    with pytest.raises(BenchError, match="BenchError"):
        answer("wordless").result()


@pytest.mark.fault("F16")
def test_threads_that_a_guest_leaves_behind_tell_nothing_while_an_answer_is_sent(workers):
    calls = [Call("odd_guest:asked_on", guest="odd", counts=True), *[Call("odd_guest:large", guest="odd")] * 3]
    waiting = list(calls)
    told = []

    found = list(workers.answers(lambda guest: waiting.pop(0) if waiting else None, lambda _call, n: told.append(n)))

    assert [len(each.value or b"") for each in found] == [0, 1 << 24, 1 << 24, 1 << 24]
    assert len(told) <= 1  # what was counted before the answer
