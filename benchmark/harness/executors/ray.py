"""The executor for when one machine is too small: Ray computes the tasks, on this machine or on a cluster.

A process of its own talks to Ray (`bench.harness.executors.ray_driver`); this end takes tasks from the agenda, and is
the only one that writes. Whatever ends the cluster ends the run with one line, and everything finished is stored.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from bench.errors import BenchError
from bench.harness.agenda import Agenda
from bench.harness.executors.ray_cluster import Cluster, stop_marked
from bench.harness.executors.ray_driver import conduct
from bench.harness.executors.ray_node import Message, Order
from bench.harness.executors.shipping import trees
from bench.harness.task import Cause, Report, Task
from bench.machine.system import own_process

# The first version with the token authentication and the labels of nodes that are used here.
_OLDEST = (2, 52)
# Seconds for an answer of an address, for a cluster to be joined or started, and for the process to end.
_ANSWER, _JOIN, _START, _END = 5.0, 30.0, 120.0, 10.0
# Seconds between two looks at tasks that may hang, and between two messages of progress.
_LOOK, _PAUSE = 0.5, 0.2
# Of a socket's path, which Ray puts below its folder, about 60 of the 107 characters are its own.
_LONGEST_FOLDER = 40


def _unheard(_text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Ray:
    """An executor of Ray tasks.

    Attributes:
        jobs: tasks at once; on a cluster of others at most, unless `every`.
        every: whether it takes as many as the cluster has room for.
        address: of a running cluster; empty for one on this machine that ends with the run.
        say: told what a user should know, a line.
    """

    jobs: int
    threads: int = 1
    device: str = "cpu"
    address: str = ""
    every: bool = False
    say: Callable[[str], None] = field(default=_unheard, compare=False, repr=False)

    def describe(self) -> str:
        where = f"the Ray cluster at {self.address}" if self.address else f"Ray with {self.jobs} tasks at once"
        return f"{where} on {self.device}"

    def run(self, agenda: Agenda, on_pass: Callable[[Task, int], None]) -> Iterator[Report]:
        first = agenda.take()  # before anything is started: another run may compute them all
        if first is None:
            return
        session = _Session.start(self)
        try:
            session.give(first)
            while agenda or session.under_way:
                while session.has_room and (task := agenda.take()) is not None:
                    session.give(task)
                yield from session.hear(on_pass, self.say)
                yield from session.hung(agenda)
        finally:
            session.stop()


def require_ray() -> None:
    """Raise if Ray is not installed, or too old."""
    extra = "pip install 'atop-bench[ray]'"
    try:
        found = version("ray")
    except PackageNotFoundError:
        raise BenchError(f"--executor ray needs Ray, which is not installed: {extra}") from None
    numbers = tuple(int(each) for each in found.split(".")[:2] if each.isdigit())
    if numbers < _OLDEST:
        raise BenchError(
            f"Ray {found} is too old, {_OLDEST[0]}.{_OLDEST[1]} is the oldest that fits: {extra} --upgrade"
        )


def require_reachable(address: str) -> None:
    """Raise if nothing answers at an address, after a few seconds at most; Ray itself would try for minutes."""
    if address == "auto":
        return
    remedy = "give HOST:PORT as 'ray start --head' prints it, or leave it out for a cluster on this machine"
    host, colon, port = address.rpartition(":")
    if "://" in address or not (host and colon and port.isdigit() and 0 < int(port) < 1 << 16):
        raise BenchError(f"--ray-address {address!r} is no address of a Ray cluster: {remedy}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()
    except OSError as error:
        raise BenchError(f"--ray-address {address!r} does not answer ({error.strerror or error}): {remedy}") from error


@dataclass
class _Begun:
    task: Task
    since: float | None = None  # when it began on its node; until then it waits for a worker


@dataclass
class _Session:
    """The process that talks to Ray, from this end of the pipe."""

    executor: Ray
    process: BaseProcess
    pipe: Connection
    cluster: Cluster
    under_way: dict[int, _Begun] = field(default_factory=dict)
    slots: int = 0
    _sent: set[str] = field(default_factory=set)
    _numbers: int = 0

    @classmethod
    def start(cls, executor: Ray) -> _Session:
        folder = tempfile.mkdtemp(prefix="bench-ray-", dir=_short_folder())
        cluster = Cluster(
            executor.address,
            executor.jobs,
            executor.threads,
            executor.device if executor.device.startswith("cuda") else "",
            secrets.token_hex(32),
            folder,
            tuple(str(Path(path).absolute()) for path in sys.path if path),
        )
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=conduct, args=(theirs, cluster), daemon=True)
        with own_process():
            process.start()
        theirs.close()
        session = cls(executor, process, ours, cluster)
        try:
            session._await()
        except BaseException:
            session.stop()
            raise
        return session

    def _await(self) -> None:
        """Wait until the cluster is there."""
        limit = _JOIN if self.executor.address else _START
        if not self.pipe.poll(limit):
            where = f"at {self.executor.address}" if self.executor.address else "on this machine"
            raise BenchError(f"the Ray cluster {where} is not ready after {limit:.0f} s: {_REMEDY}")
        self._receive(lambda _task, _passed: None, self.executor.say)

    @property
    def has_room(self) -> bool:
        most = self.slots if self.executor.every else min(self.slots, self.executor.jobs)
        return len(self.under_way) < most

    def give(self, task: Task) -> None:
        digest = task.shard.digest
        if digest not in self._sent:
            self._sent.add(digest)
            self._send(("images", task.shard))
        # Where the cluster is this machine, every file is where its reference says.
        files = trees(task.cell) if self.executor.address else {}
        device = "cuda" if self.cluster.gpu else self.executor.device
        pause = max(_PAUSE, self.slots / 100)  # a hundred messages a second in all
        order = Order(
            replace(task, shard=task.shard.part(0, 0)),
            digest,
            files,
            str(Path.cwd()),
            device,
            self.executor.threads,
            pause,
        )
        self._numbers += 1
        self.under_way[self._numbers] = _Begun(task)
        self._send(("task", self._numbers, order))

    def _send(self, message: Message) -> None:
        # `hear` notices a process that is gone.
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def hear(self, on_pass: Callable[[Task, int], None], say: Callable[[str], None]) -> Iterator[Report]:
        """Receive what there is, after waiting for a moment; yield the tasks that have ended."""
        ready = self.pipe.poll(_LOOK)
        while ready:
            report = self._receive(on_pass, say)
            if report is not None:
                yield report
            ready = self.pipe.poll(0)

    def _receive(self, on_pass: Callable[[Task, int], None], say: Callable[[str], None]) -> Report | None:
        try:
            what, *more = self.pipe.recv()
        except (EOFError, OSError):
            raise BenchError(f"the process that talks to Ray has ended{self._last_words()}: {_REMEDY}") from None
        if what == "fatal":
            raise BenchError(more[0])
        if what == "say":
            say(more[0])
        elif what == "slots":
            self.slots = more[0]
        elif (begun := self.under_way.get(more[0])) is not None:  # else it was given up
            if what == "began":
                begun.since = time.monotonic()
            elif what == "passed":
                on_pass(begun.task, more[1])
            else:
                del self.under_way[more[0]]
                return Report(begun.task, *more[1])
        return None

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = Path(self.cluster.folder, "driver.log").read_text(errors="replace").split("\n")
            said = [line.strip() for line in lines if line.strip()]
            return "".join(letter for letter in f" ({said[-1][:200]})" if letter.isprintable()) if said else ""
        return ""

    def hung(self, agenda: Agenda) -> Iterator[Report]:
        """Give up the tasks that take too long."""
        now = time.monotonic()
        for number, begun in list(self.under_way.items()):
            limit = agenda.limit(begun.task)
            if begun.since is not None and now - begun.since > limit:
                self._send(("cancel", number))
                del self.under_way[number]
                yield Report(
                    begun.task,
                    None,
                    f"no answer after {limit:g} s: it hangs, or --timeout is too short",
                    limit,
                    cause=Cause.HUNG,
                )

    def stop(self) -> None:
        """End the process, with it the cluster if it is on this machine, and remove what they left behind."""
        try:
            self._send(("stop",))
            self.process.join(_END)
        finally:
            self.process.kill()
            self.process.join(_END)
            self.pipe.close()
            if self.cluster.here:
                stop_marked(self.cluster.secret)
            shutil.rmtree(self.cluster.folder, ignore_errors=True)


_REMEDY = "what is finished is stored; run the same command again, with any --executor"


def _short_folder() -> str | None:
    """Return where Ray's folder goes, if the usual place for temporary files has too long a name for its sockets."""
    usual = tempfile.gettempdir()
    return "/tmp" if len(usual) > _LONGEST_FOLDER and os.path.isdir("/tmp") else None  # noqa: S108, PTH112
