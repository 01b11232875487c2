"""The executor that computes everything in this process: for debugging, and for a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.harness.agenda import Agenda
from bench.harness.task import Report, Task, compute
from bench.machine.system import staying


@dataclass(frozen=True)
class Local:
    """An executor that computes one task after the other on `device`, in this process and with its threads."""

    device: str = "cpu"
    threads: int = 1
    jobs: int = field(default=1, init=False)

    def describe(self) -> str:
        return self.device

    def run(self, agenda: Agenda, on_pass: Callable[[Task, int], None]) -> Iterator[Report]:
        while (task := agenda.take()) is not None:
            with staying():
                report = compute(task, self.device, lambda count, task=task: on_pass(task, count))  # type: ignore[misc]
            yield report
