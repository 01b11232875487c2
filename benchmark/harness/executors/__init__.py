"""Executors, which compute shards in isolated processes, in this process, or on a cluster."""

from __future__ import annotations

import os
import re

from bench._system import may_have_gpu
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
    devices = pick_devices(device) if tasks else ("cpu",)
    if kind == "local":
        return Local(devices[0], cores())
    # Several processes on one GPU would each hold a copy of the model and wait for each other.
    most = min(cores(), _MOST_JOBS) if devices[0] == "cpu" else len(devices)
    wanted = max(1, min(jobs or most, max(tasks, 1)))
    return Processes(wanted, max(1, cores() // wanted), devices)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(device: str) -> str:
    """Resolve `auto` to the best device of this machine, and check that any other device exists.

    Raises:
        BenchError: a kind of device that nothing here runs on, or no such device here.
    """
    return pick_devices(device)[0]


def pick_devices(device: str) -> tuple[str, ...]:
    """Resolve `auto` and `cuda` to all GPUs of this machine, as for `pick_device`; one alone is called `cuda`."""
    _offered(device)
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        return ("cpu",)
    import torch

    count = torch.cuda.device_count()
    each = tuple(f"cuda:{index}" for index in range(count))
    if device == "auto" and not count:
        return ("cpu",)
    known = ["cpu", *(["cuda"] if count else []), *each]
    if device not in (*known, "auto"):
        raise BenchError(f"--device {device!r} is not here: give auto or one of {', '.join(known)}")
    if device not in ("auto", "cuda"):
        return (device,)
    return each if count > 1 else ("cuda",)


def _offered(device: str) -> None:
    """Refuse what torch may have and nobody has held verdicts of against a processor's: `mps`, `xpu`."""
    if not re.fullmatch(_OFFERED, device):
        raise BenchError(f"--device {device!r} is not offered: give auto, cpu, cuda or cuda:N")
