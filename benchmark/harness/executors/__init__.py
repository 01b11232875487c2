"""Executors, which compute shards in isolated processes, in this process, or on a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from bench.errors import BenchError
from bench.harness.executors.local import Local
from bench.harness.executors.processes import Processes
from bench.harness.task import Executor
from bench.machine.system import may_have_gpu
from bench.machine.threads import asked

_KINDS = ("auto", "local", "processes", "ray")
# More workers than this rarely help on one machine and cost memory: each loads torch anew.
_MOST_JOBS = 16
# More than any machine, or any cluster of ours, has cores.
_JOBS = 4096
_OFFERED = r"auto|cpu|cuda(:\d+)?"


def _unheard(_text: str) -> None:
    """Say nothing."""


def choose(
    kind: str, device: str, jobs: int, tasks: int, ray_address: str = "", say: Callable[[str], None] = _unheard
) -> Executor:
    """Choose the executor for a number of tasks.

    Args:
        kind: `auto`, `local`, `processes` or `ray`.
        device: as the option.
        jobs: as the option.
        tasks: how many there are to compute.
        ray_address: of a running Ray cluster; empty for one on this machine.
        say: told what a user should know of the executor.

    Raises:
        BenchError: the kind is unknown, this machine has no such device, or Ray is missing or does not answer.
    """
    if kind not in _KINDS:
        raise BenchError(f"--executor {kind!r} is unknown: give one of {', '.join(_KINDS)}")
    _offered(device)
    require_jobs(jobs)
    if kind == "ray":
        return _on_ray(device, jobs, tasks, ray_address, say)
    # Without tasks nothing needs torch, which finding a GPU would import.
    devices = pick_devices(device) if tasks else ("cpu",)
    if kind == "local":
        return Local(devices[0], cores())
    # Several processes on one GPU would each hold a copy of the model and wait for each other.
    most = min(cores(), _MOST_JOBS) if devices[0] == "cpu" else len(devices)
    wanted = max(1, min(jobs or most, max(tasks, 1)))
    return Processes(wanted, _threads(wanted), devices)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(workers: int) -> int:
    """Return the threads of each of so many workers: its share of the cores, and no more than `OMP_NUM_THREADS`."""
    share = max(1, cores() // workers)
    return min(share, asked() or share)


def require_jobs(jobs: int) -> None:
    """Raise a BenchError unless so many workers can be meant."""
    if not 0 <= jobs <= _JOBS:
        raise BenchError(f"--jobs {jobs} is out of range: give 0 (one per core) to {_JOBS}")


def _on_ray(device: str, jobs: int, tasks: int, address: str, say: Callable[[str], None]) -> Executor:
    from bench.harness.executors import ray

    ray.require_ray()
    if address and device.startswith("cuda:"):
        raise BenchError(f"--device {device!r} on a Ray cluster: give cuda, Ray chooses the GPU of each task")
    devices = pick_devices(device) if tasks else ("cpu",)
    if address:
        if tasks:
            ray.require_reachable(address)
        return ray.Ray(max(jobs, 1), 1, "cpu" if devices[0] == "cpu" else "cuda", address, every=not jobs, say=say)
    most = min(cores(), _MOST_JOBS) if devices[0] == "cpu" else len(devices)
    wanted = max(1, min(jobs or most, max(tasks, 1)))
    # Ray gives a task one of several GPUs, and shows it no other.
    return ray.Ray(wanted, _threads(wanted), devices[0] if len(devices) == 1 else "cuda", say=say)


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
