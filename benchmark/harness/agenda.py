"""The agenda of a run: the tasks that nobody has begun, the most expensive first."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from bench.harness.pace import UNKNOWN, Pace

if TYPE_CHECKING:
    from bench.harness.task import Task


def _always(_task: Task) -> bool:
    return True


class Agenda:
    """The tasks that nobody has begun; executors take from it, and the run adds to it while they work.

    The most expensive task goes first: a long one begun last would keep one worker busy while the others idle. Tasks
    are kept apart by guest (`Task.guest`), because a process that has loaded the code of one is not used for another.

    Attributes:
        pace: how long tasks take.
    """

    def __init__(self, begins: Callable[[Task], bool] = _always, pace: Pace = UNKNOWN) -> None:
        """Make an empty agenda; `begins` is asked before a task is handed out, and one that it refuses is dropped."""
        self.pace = pace
        self._begins = begins
        self._waiting: dict[str, list[tuple[float, int, Task]]] = {}
        self._counted = count()

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, task: Task) -> None:
        """Add a task that is to be computed."""
        # In the order of addition where tasks cost the same.
        entry = (-self.pace.seconds(task.cell, len(task.shard)), next(self._counted), task)
        heapq.heappush(self._waiting.setdefault(task.guest, []), entry)

    def take(self, guest: str | None = None) -> Task | None:
        """Hand out the most expensive task, of this guest or of any; `None` where there is none."""
        while (chosen := self._first(guest)) is not None:
            task = heapq.heappop(self._waiting[chosen])[2]
            if self._begins(task):
                return task
        return None

    def _first(self, guest: str | None) -> str | None:
        """Return the guest whose first task is the most expensive."""
        open_ = {name: tasks[0] for name, tasks in self._waiting.items() if tasks and guest in (None, name)}
        return min(open_, key=lambda name: open_[name][:2]) if open_ else None

    def limit(self, task: Task) -> float:
        """Return the seconds after which a task is called hung."""
        return self.pace.limit(task.cell, len(task.shard))
