"""The executor of isolated processes (`bench.machine.isolation`), one per core or per GPU; the usual one.

What a defense does to its process costs the shard that it was computing, and not the run.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.harness.agenda import Agenda
from bench.harness.task import Cause, Report, Task, compute
from bench.machine.isolation import Answer, Call, Elsewhere, End, Workers, current
from bench.results.outcome import Done, Kept

_CAUSES = {End.DIED: Cause.LOST, End.KILLED: Cause.KILLED, End.HUNG: Cause.HUNG, None: Cause.ERROR}
# What a process sends back: a report without its task, whose images are here already.
_Told = tuple[Done | None, str, float, Kept | None, Cause]


@dataclass(frozen=True)
class Processes:
    """An executor of `jobs` processes with `threads` threads each.

    Attributes:
        devices: where they compute; with several GPUs each process has one for itself.
    """

    jobs: int
    threads: int = 1
    devices: tuple[str, ...] = ("cpu",)

    @property
    def device(self) -> str:
        return self.devices[0]

    def describe(self) -> str:
        where = f"{len(self.devices)} GPUs" if len(self.devices) > 1 else self.device
        return f"{self.jobs} process{'es' * (self.jobs > 1)} on {where}"

    def run(self, agenda: Agenda, on_pass: Callable[[Task, int], None]) -> Iterator[Report]:
        under_way: Counter[str] = Counter(dict.fromkeys(self.devices, 0))

        def take(guest: str | None) -> Call | None:
            task = agenda.take(guest) if under_way.total() < self.jobs else None
            if task is None:
                return None
            device = min(self.devices, key=lambda each: under_way[each])
            under_way[device] += 1
            args = (task, device, self.threads)
            return Call(_computed, args, task.guest, agenda.limit(task), counts=True, tag=(task, device))

        with contextlib.ExitStack() as stack:
            # Those that have planned the run have loaded its defenses already.
            workers = current() or stack.enter_context(Workers(self.jobs, self.threads, preload="torch"))
            for answer in workers.answers(take, lambda call, count: on_pass(call.tag[0], count)):
                task, device = answer.call.tag
                under_way[device] -= 1
                yield _report(task, answer)


def _computed(task: Task, device: str, threads: int, on_pass: Callable[[int], None]) -> _Told:
    """In the process: compute a task with so many threads."""
    import torch

    torch.set_num_threads(threads)
    report = compute(task, device, on_pass)
    return report.done, report.error, report.seconds, report.kept, report.cause


def _report(task: Task, answer: Answer) -> Report:
    if answer.error is None:
        done, error, seconds, kept, cause = answer.value
        return Report(task, done, error, seconds, kept, cause)
    end = answer.error.end if isinstance(answer.error, Elsewhere) else None
    return Report(task, None, str(answer.error), cause=_CAUSES[end])
