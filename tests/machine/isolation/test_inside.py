"""Inside a process: what a guest does to it does not keep the next call from its answer."""

from pathlib import Path

import pytest


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
