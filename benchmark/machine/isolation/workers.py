"""Processes of our own in which code of others runs, several at once and each for one guest."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from bench.machine.isolation.calls import Answer, Call, named
from bench.machine.isolation.process import Worker
from bench.machine.system import staying

# Seconds between two looks at processes that say nothing.
_TICK = 0.5
# Idle processes that are kept beside the busy ones: they have loaded a guest that may be called again.
_IDLE = 4


class Workers:
    """Up to `most` busy processes, each started when it is needed and kept for the next call of its guest.

    Attributes:
        most: processes that are busy at once.
        threads: of torch in each of them.
        limit: the most seconds of a call that has no limit of its own; `None` for any time.
        preload: a module that they import when they start.
    """

    def __init__(self, most: int, threads: int = 1, limit: float | None = None, preload: str = "") -> None:
        self.most, self.threads, self.limit, self.preload = most, threads, limit, preload
        self._all: list[Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process, and whatever it has started."""
        self._end(self._all)
        self._all.clear()

    @staticmethod
    def _end(workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.tell_to_end()
        for worker in workers:
            worker.end()

    def answers(
        self, take: Callable[[str | None], Call | None], on_count: Callable[[Call, int], None] | None = None
    ) -> Iterator[Answer]:
        """Make calls and yield their answers as they come, until there is none to make and none under way.

        Args:
            take: returns the next call of a guest, or of any for `None`; `None` where there is none. It is asked again
                after every answer, so calls may be added while others are under way.
            on_count: called with a call and the numbers that it tells of its progress.
        """
        try:
            while True:
                self._hand_out(take)
                busy = [worker for worker in self._all if worker.call is not None]
                if not busy:
                    return
                for worker in _speaking(busy):
                    for news in worker.hear():
                        if isinstance(news, Answer):
                            yield news
                        elif on_count is not None and worker.call is not None:
                            on_count(worker.call, news)
        finally:
            # Whoever stops listening does not want the rest.
            self._end([each for each in self._all if each.call is not None])
            self._all = [worker for worker in self._all if not worker.over]

    def each(self, calls: Sequence[Call]) -> list[Answer]:
        """Make calls, several at once, and return their answers in the same order."""
        waiting = list(enumerate(calls))
        found: dict[int, Answer] = {}

        def take(guest: str | None) -> Call | None:
            for place, (index, call) in enumerate(waiting):
                if guest in (None, call.guest):
                    del waiting[place]
                    return Call(call.function, call.args, call.guest, call.limit, tag=index)
            return None

        for answer in self.answers(take):
            found[answer.call.tag] = answer
        return [Answer(call, found[index].value, found[index].error) for index, call in enumerate(calls)]

    def _hand_out(self, take: Callable[[str | None], Call | None]) -> None:
        for worker in [each for each in self._all if each.call is None and not each.is_alive()]:
            worker.end()  # its children may be alive
            self._all.remove(worker)
        for worker in self._all:
            busy = sum(each.call is not None for each in self._all)
            if worker.call is None and worker.guest and busy < self.most and (call := take(worker.guest)) is not None:
                worker.give(call, self.limit)
        while sum(worker.call is not None for worker in self._all) < self.most and (call := take(None)) is not None:
            self._for(call.guest).give(call, self.limit)

    def _for(self, guest: str) -> Worker:
        """Return an idle process that may serve this guest; one that serves another makes room for it."""
        idle = [worker for worker in self._all if worker.call is None]
        fit = [worker for worker in idle if worker.guest in ("", guest)]
        if fit:
            return max(fit, key=lambda worker: worker.guest == guest)
        if len(idle) >= _IDLE:
            idle[0].tell_to_end()
            idle[0].end()
            self._all.remove(idle[0])
        self._all.append(Worker.start(self.threads, self.preload))
        return self._all[-1]


_current: ContextVar[Workers | None] = ContextVar("workers", default=None)


@contextlib.contextmanager
def isolated(workers: Workers | None) -> Iterator[None]:
    """Let `apart` use these processes inside the block, and end them after it; `None`: everything stays in this one."""
    token = _current.set(workers)
    try:
        yield
    finally:
        _current.reset(token)
        if workers is not None:
            workers.stop()


def current() -> Workers | None:
    """Return the processes of the innermost `isolated`."""
    return _current.get()


def apart(function: Callable[..., Any] | str, *args: Any, guest: str = "") -> Any:  # noqa: ANN401
    """Call a function in a process of its own where there are some, else in this one.

    Raises:
        BenchError: it raised one.
        Elsewhere: it raised another error, or its process ended. In this process errors stay as they are.
    """
    return each_apart([Call(function, args, guest)])[0].result()


def each_apart(calls: Sequence[Call]) -> list[Answer]:
    """Make calls as `apart` does, several at once where there are processes."""
    workers = _current.get()
    return [here(call) for call in calls] if workers is None else workers.each(calls)


def here(call: Call) -> Answer:
    """Make a call in this process; the error of one is its answer, and what is no error of it is raised."""
    try:
        with staying():
            return Answer(call, named(call.function)(*call.args))
    except Exception as error:  # noqa: BLE001  (whoever asks for the result gets it)
        return Answer(call, error=error)


def _speaking(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until one of them says something, at most for a tick; return those, and those that have to be looked at."""
    now = time.monotonic()
    soonest = min((worker.deadline - now for worker in workers if worker.deadline is not None), default=_TICK)
    watched = [each for worker in workers for each in (worker.pipe, worker.log)]
    ready = wait(watched, timeout=min(_TICK, max(soonest, 0.0)))
    late = time.monotonic()
    return [
        worker
        for worker in workers
        if not ready or worker.pipe in ready or worker.log in ready or (worker.deadline or late) < late
    ]
