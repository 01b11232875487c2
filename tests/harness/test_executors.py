"""Executors: the same verdicts everywhere, and a crash that costs one shard."""

import re

import pytest

from bench.errors import BenchError
from bench.harness.executors import choose


def test_unknown_executors_and_devices_are_refused():
    with pytest.raises(BenchError, match="--executor 'dask' is unknown"):
        choose("dask", "cpu", 0, 1)
    with pytest.raises(BenchError, match="--device 'cuda:99' is not here"):
        choose("auto", "cuda:99", 0, 1)


def test_no_more_processes_than_tasks_and_this_one_only_where_it_is_asked_for():
    """Also a single task runs in a process of its own: what its defense does to that must not end the run."""
    assert choose("auto", "cpu", 0, 1).describe() == "1 process on cpu"
    assert choose("auto", "cpu", 2, 5).describe() == "2 processes on cpu"
    assert choose("auto", "cpu", 1, 5).describe() == "1 process on cpu"
    assert choose("local", "cpu", 2, 5).describe() == "cpu"


def test_with_several_gpus_each_gets_a_process(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)

    assert choose("auto", "auto", 0, 9).devices == ("cuda:0", "cuda:1", "cuda:2")
    assert choose("auto", "cuda", 0, 9).describe() == "3 processes on 3 GPUs"
    assert choose("auto", "cuda:1", 0, 9).describe() == "1 process on cuda:1"
    assert choose("local", "cuda", 0, 9).describe() == "cuda:0"


@pytest.mark.parametrize("tasks", [0, 1])
@pytest.mark.parametrize("device", ["mps", "xpu", "CPU", "cuda:", "cpu:0", ""])
def test_a_device_that_nothing_here_runs_on_is_refused_whether_there_is_work_or_not(device, tasks):
    """Torch may have it: no verdict on it was ever held against a processor's."""
    with pytest.raises(BenchError, match=re.escape(f"--device {device!r} is not offered: give auto, cpu, cuda or")):
        choose("auto", device, 0, tasks)
