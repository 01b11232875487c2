"""Everything in this process: the executor to debug with, and the one for a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.executors.task import Report, Task, always, compute


@dataclass(frozen=True)
class Local:
    """Compute one task after the other on `device`."""

    device: str = "cpu"

    def run(
        self,
        tasks: Sequence[Task],
        on_pass: Callable[[Task, int], None],
        begins: Callable[[Task], bool] = always,
    ) -> Iterator[Report]:
        for task in filter(begins, tasks):
            yield compute(task, self.device, lambda count, task=task: on_pass(task, count))  # type: ignore[misc]
