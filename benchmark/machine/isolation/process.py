"""A process of ours seen from outside: it gets calls, and is ended with all that it has started."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler

from bench.errors import BenchError
from bench.machine.isolation.calls import Answer, Call, Elsewhere, End
from bench.machine.isolation.inside import READY, serve
from bench.machine.system import own_process

# Seconds that a process which is told to end gets, and one whose connection is closed.
_GRACE, _SOON = 2.0, 0.5
# Seconds that a process may take before it is ready.
_STARTING = 300.0
# Where there is no SIGKILL, ending a process is killing it.
_AT_ONCE = getattr(signal, "SIGKILL", signal.SIGTERM)
# As much as is kept of what a process prints; its last line may say why it died.
_KEPT = 2000
# Seconds without a byte in the middle of a message, and as many bytes as an empty pipe takes on any system.
_STALLED, _FITS = 10, 4096


@dataclass
class Worker:
    """A process, the call it has, and when that has to be answered."""

    process: BaseProcess
    pipe: Connection
    log: Connection
    guest: str = ""
    call: Call | None = None
    limit: float | None = None
    deadline: float | None = None
    ready: bool = False
    printed: bytes = field(default=b"")
    over: bool = False
    sender: threading.Thread | None = None
    told: float | None = None

    @classmethod
    def start(cls, threads: int, preload: str = "") -> Worker:
        # Spawned, not forked: a forked child inherits locks of torch's thread pools in any state.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        log, printed = context.Pipe(duplex=False)
        process = context.Process(target=serve, args=(theirs, printed, threads, os.getpid(), preload), daemon=True)
        with own_process():
            process.start()
        theirs.close()
        printed.close()
        if os.name == "posix":
            os.set_blocking(log.fileno(), False)
            _wait_at_most(ours, _STALLED)
        return cls(process, ours, log)

    def is_alive(self) -> bool:
        return not self.over and not _has_ended(self.process)

    def give(self, call: Call, limit: float | None) -> None:
        self.call, self.guest, self.printed = call, call.guest or self.guest, b""
        self.limit = limit if call.limit is None else call.limit
        # What a process needs to start, such as the import of torch on a busy machine, is no fault of the guest.
        self.deadline = self._from_now(0.0 if self.ready else _STARTING)
        self._send(ForkingPickler.dumps((call.function, call.args, call.counts)))

    def _send(self, message: memoryview) -> None:
        """Send a message; one that does not fit into the pipe waits in a thread of its own.

        A process that is still being started, or that a guest has stopped, reads nothing: nobody is to wait for it.
        """

        def send() -> None:
            with contextlib.suppress(OSError):  # `hear` notices that it is dead
                self.pipe.send_bytes(message)

        if len(message) <= _FITS:
            send()
            return
        self.sender = threading.Thread(target=send, daemon=True)
        self.sender.start()

    def hear(self) -> Iterator[Answer | int]:
        """Yield what the process says: numbers, and the answer to its call."""
        call = self.call
        assert call is not None  # noqa: S101  (only those with a call are heard)
        self._read_log()
        try:
            news = self.pipe.recv() if self.pipe.poll() else None
            answer = None if news in (None, READY) or isinstance(news, int) else _answer(call, *news)
        except Exception as error:  # noqa: BLE001  (the pipe is closed, or a guest has written into it)
            why = "it closed its connection"
            if isinstance(error, BlockingIOError):
                why = f"it stopped for {_STALLED} s in the middle of its answer"
            elif not isinstance(error, EOFError | OSError):
                why = "its answer cannot be read: it has written into its connection, or returns what only it can load"
            yield self._ended(End.DIED, why if not self._ends_within(_SOON) else "")
            return
        if news == READY:
            self.ready, self.deadline = True, self._from_now(0.0)
        elif answer is not None:
            self.call = None
            yield answer
        elif news is not None:
            yield news
        elif not self.is_alive():
            yield self._ended(End.DIED, "")
        elif self.deadline is not None and time.monotonic() > self.deadline:
            yield self._ended(End.HUNG, f"no answer after {self.limit:g} s: it hangs, or --timeout is too short")

    def _from_now(self, more: float) -> float | None:
        return None if self.limit is None else time.monotonic() + self.limit + more

    def _ended(self, end: End, why: str) -> Answer:
        call = self.call
        assert call is not None  # noqa: S101  (as above)
        if end is End.HUNG:
            self.tell_to_end()
        self.end()
        number = self.process.exitcode or 0
        if not why and number < 0:
            end = End.KILLED if -number == _AT_ONCE else End.DIED
            why = f"its process was ended by {_name(-number)}"
            why += ", which is how a system ends one where memory runs out" if end is End.KILLED else ""
        why = why or f"it ended its process with status {number}"
        said = self._last_line()
        return Answer(call, error=Elsewhere(why + (f"; it printed last: {said}" if said else ""), end))

    def _read_log(self) -> None:
        """Take what the process has printed, so that it never waits for a reader, and keep the last of it."""
        if os.name != "posix" or self.log.closed:
            return
        with contextlib.suppress(OSError):
            while chunk := os.read(self.log.fileno(), 1 << 20):
                self.printed = (self.printed + chunk)[-_KEPT:]

    def _last_line(self) -> str:
        lines = [line for line in self.printed.decode(errors="replace").splitlines() if line.strip()]
        text = "".join(letter if letter.isprintable() else " " for letter in lines[-1]) if lines else ""
        return " ".join(text.split())[:200]

    def _ends_within(self, seconds: float) -> bool:
        # Not by `join`, which waits for good once a guest has closed all files, the sentinel of its process among them.
        until = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < until:
            time.sleep(0.005)
        return not self.is_alive()

    def tell_to_end(self) -> None:
        """Ask the process to end; `end` waits for it."""
        if not self.over:
            self.told = time.monotonic()
            _signal(self.process, signal.SIGTERM)

    def end(self) -> None:
        """Wait a moment for the process to end, then kill it with all that it has started."""
        if self.over:
            return
        # From when it was told: of many that do not listen none waits for another.
        until = (time.monotonic() if self.told is None else self.told) + _GRACE
        try:
            while time.monotonic() < until and not _has_ended(self.process):
                time.sleep(0.005)
        finally:  # also where Ctrl-C comes in between
            _signal(self.process, _AT_ONCE)
            self.process.join()
            self.over = True
            self._read_log()
            if self.sender is not None:
                _hang_up(self.pipe)  # children of a guest may hold the other end
                self.sender.join()
            self.pipe.close()
            self.log.close()
            self.call = None


def _wait_at_most(pipe: Connection, seconds: int) -> None:
    """Let reading from a pipe fail with BlockingIOError where the rest of a message does not come for so long."""
    with socket.socket(fileno=os.dup(pipe.fileno())) as each:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", seconds, 0))


def _hang_up(pipe: Connection) -> None:
    """Wake whoever waits for room in a pipe."""
    if os.name == "posix":
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(pipe.fileno())) as each:
            each.shutdown(socket.SHUT_RDWR)


def _has_ended(process: BaseProcess) -> bool:
    """Return whether a process has ended, without reaping it where the system can tell.

    Until it is reaped, no other process can get its number, which is that of its group as well.
    """
    if process.pid is None or not hasattr(os, "waitid"):
        return not process.is_alive()
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal(process: BaseProcess, number: int) -> None:
    """Send a signal to a process and to those it has started."""
    if process.pid is None:
        return
    if os.name != "posix":
        process.terminate()
        return
    # Before it has made a group of its own there is none.
    for send in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(process.pid, number)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _answer(call: Call, value: object, mistake: object, error: object, exited: object) -> Answer:
    if not isinstance(mistake, str) or not isinstance(error, str):
        raise TypeError("a guest has written into its connection")
    if mistake:
        return Answer(call, error=BenchError(mistake))
    return Answer(call, error=Elsewhere(error, End.DIED if exited else None)) if error else Answer(call, value)
