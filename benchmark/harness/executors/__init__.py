"""Executors, which compute shards in this process or in one process per core."""

from __future__ import annotations

import os
import re

from bench.errors import BenchError
from bench.harness.executors.local import Local
from bench.harness.executors.processes import Processes
from bench.harness.task import Executor

_KINDS = ("auto", "local", "processes")
# More workers than this rarely help on one machine and cost memory: each loads torch anew.
_MOST_JOBS = 16
_OFFERED = r"auto|cpu|cuda(:\d+)?"


def choose(kind: str, device: str, jobs: int, tasks: int) -> Executor:
    """Choose the executor for a number of tasks.

    Raises:
        BenchError: the kind is unknown, or this machine has no such device.
    """
    if kind not in _KINDS:
        raise BenchError(f"--executor {kind!r} is unknown: give one of {', '.join(_KINDS)}")
    _offered(device)
    # Without tasks nothing needs torch, which finding a GPU would import.
    device = pick_device(device) if tasks else "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = min(jobs or min(cores, _MOST_JOBS), max(tasks, 1))
    # Several processes on one GPU would each hold a copy of the model and wait for each other.
    if kind == "local" or (kind == "auto" and (wanted == 1 or device != "cpu")):
        return Local(device, cores)
    return Processes(wanted, max(1, cores // wanted), device)


def pick_device(device: str) -> str:
    """Resolve `auto` to the best device of this machine, and check that any other device exists.

    Raises:
        BenchError: a kind of device that nothing here runs on, or no such device here.
    """
    _offered(device)
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count()
    if device == "auto":
        return "cuda" if count else "cpu"
    known = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if device not in known:
        raise BenchError(f"--device {device!r} is not here: give auto or one of {', '.join(known)}")
    return device


def _offered(device: str) -> None:
    """Refuse what torch may have and nobody has held verdicts of against a processor's: `mps`, `xpu`."""
    if not re.fullmatch(_OFFERED, device):
        raise BenchError(f"--device {device!r} is not offered: give auto, cpu, cuda or cuda:N")
