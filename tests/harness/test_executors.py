"""Executors: the same verdicts everywhere, and a crash that costs one shard."""

import re

import pytest

from bench.errors import BenchError
from bench.harness.executors import choose


def test_unknown_executors_and_devices_are_refused():
    with pytest.raises(BenchError, match="--executor 'ray' is unknown"):
        choose("ray", "cpu", 0, 1)
    with pytest.raises(BenchError, match="--device 'cuda:99' is not here"):
        choose("auto", "cuda:99", 0, 1)


def test_one_task_needs_no_process():
    assert choose("auto", "cpu", 0, 1).describe() == "cpu"
    assert choose("auto", "cpu", 2, 5).describe() == "2 processes on cpu"


@pytest.mark.parametrize("tasks", [0, 1])
@pytest.mark.parametrize("device", ["mps", "xpu", "CPU", "cuda:", "cpu:0", ""])
def test_a_device_that_nothing_here_runs_on_is_refused_whether_there_is_work_or_not(device, tasks):
    """Torch may have it: no verdict on it was ever held against a processor's."""
    with pytest.raises(BenchError, match=re.escape(f"--device {device!r} is not offered: give auto, cpu, cuda or")):
        choose("auto", device, 0, tasks)
