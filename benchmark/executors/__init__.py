"""Where shards are computed: in this process, or in one process per core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.executors.task import Report, Task, always

_KINDS = ("auto", "local", "processes")
# More workers than this rarely help on one machine and cost memory: each loads torch anew.
_MOST_JOBS = 16


@dataclass(frozen=True)
class Executor:
    """A choice of executor; nothing is started, and torch is not imported, before there is work."""

    kind: str
    jobs: int
    threads: int
    device: str

    def run(
        self,
        tasks: Sequence[Task],
        on_pass: Callable[[Task, int], None],
        begins: Callable[[Task], bool] = always,
    ) -> Iterator[Report]:
        if not tasks:
            return iter(())
        if self.kind == "processes":
            from bench.executors.processes import Processes

            return Processes(self.jobs, self.threads, self.device).run(tasks, on_pass, begins)
        from bench.executors.local import Local

        return Local(self.device).run(tasks, on_pass, begins)

    def describe(self) -> str:
        if self.kind == "processes":
            return f"{self.jobs} processes on {self.device}"
        return self.device


def choose(kind: str, device: str, jobs: int, tasks: int) -> Executor:
    """The executor for so many tasks.

    Raises:
        BenchError: an unknown kind, or a device that is not there.
    """
    if kind not in _KINDS:
        raise BenchError(f"--executor {kind!r} is unknown: give one of {', '.join(_KINDS)}")
    device = pick_device(device) if tasks else "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = min(jobs or min(cores, _MOST_JOBS), max(tasks, 1))
    if kind == "local" or (kind == "auto" and (wanted == 1 or device != "cpu")):
        return Executor("local", 1, cores, device)
    return Executor("processes", wanted, max(1, cores // wanted), device)


def pick_device(device: str) -> str:
    """`auto` as the best device there is; any other name as it is, once it is known to exist.

    Raises:
        BenchError: no such device here.
    """
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
