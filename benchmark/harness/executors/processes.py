"""The executor of one worker process per core: faster for small models, and a crash costs one shard, not the run.

It is not a `ProcessPoolExecutor`, which one killed worker breaks. This executor replaces the worker and
tries its task once more.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from bench._system import keep_freed, own_process
from bench.harness.agenda import Agenda
from bench.harness.task import Cause, Report, Task, compute

# As often as a progress bar needs; a message per forward would slow small models down.
_SECONDS_BETWEEN_NEWS = 0.2


@dataclass(frozen=True)
class Processes:
    """An executor of `jobs` worker processes with `threads` threads each."""

    jobs: int
    threads: int = 1
    device: str = "cpu"

    def describe(self) -> str:
        return f"{self.jobs} processes on {self.device}"

    def run(self, agenda: Agenda, on_pass: Callable[[Task, int], None]) -> Iterator[Report]:
        workers: list[_Worker] = []
        try:
            while agenda or any(worker.task for worker in workers):
                workers = [worker for worker in workers if worker.process.is_alive() or worker.task]
                while len(workers) < min(self.jobs, len(agenda) + sum(worker.task is not None for worker in workers)):
                    workers.append(_Worker.start(self.threads, self.device))
                for worker in workers:
                    if worker.task is None and (task := agenda.take()) is not None:
                        worker.give(task)
                for worker in _speaking(workers):
                    report = worker.hear(on_pass)
                    if report is not None:
                        yield report
        finally:
            for worker in workers:
                worker.stop()


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = field(default=None)

    @classmethod
    def start(cls, threads: int, device: str) -> _Worker:
        # Spawned, not forked: a forked child inherits locks of torch's thread pools in any state.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, threads, device), daemon=True)
        with own_process():
            process.start()
        theirs.close()
        return cls(process, ours)

    def give(self, task: Task) -> None:
        self.task = task
        # `hear` notices a worker that is already dead.
        with contextlib.suppress(OSError):
            self.pipe.send(task)

    def hear(self, on_pass: Callable[[Task, int], None]) -> Report | None:
        """Receive one message of the worker; return the report of its task if it has ended."""
        task = self.task
        if task is None:
            return None
        try:
            news = self.pipe.recv()
        except (EOFError, OSError):
            self.task = None
            self.stop()
            return Report(task, None, "the worker process died", cause=Cause.LOST)
        if isinstance(news, int):
            on_pass(task, news)
            return None
        self.task = None
        return Report(task, *news)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(timeout=5)
        self.pipe.close()


def _speaking(workers: Sequence[_Worker]) -> list[_Worker]:
    ready = wait([worker.pipe for worker in workers if worker.task], timeout=1.0)
    return [worker for worker in workers if worker.pipe in ready]


def _serve(pipe: Connection, threads: int, device: str) -> None:
    """Serve as a worker: receive tasks, send numbers of passes and one answer per task."""
    import torch

    # Ctrl-C reaches the whole group; the driver decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    keep_freed()
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        news = _News(pipe)
        report = compute(task, device, news)
        try:
            pipe.send((report.done, report.error, report.seconds, report.kept, report.cause))
        except OSError:
            return


class _News:
    """A counter of passes that reports to the driver a few times a second."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._passes = 0
        self._told = time.monotonic()

    def __call__(self, passes: int) -> None:
        self._passes += passes
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_NEWS:
            try:
                self._pipe.send(self._passes)
            except OSError:
                # The driver is gone: nobody will ever read the answer.
                raise SystemExit(1) from None
            self._passes, self._told = 0, now
