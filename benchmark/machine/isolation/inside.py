"""The inside of an isolated process (`bench.machine.isolation`): it answers calls until its connection is closed."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import current_process, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bench.errors import BenchError, Exited, one_line
from bench.machine.isolation.calls import named
from bench.machine.system import keep_freed, memory
from bench.machine.threads import wait_briefly

# As often as a progress bar needs; a message per forward would slow small models down.
_SECONDS_BETWEEN_NEWS = 0.2
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
# What a process says when it can take calls; the limit of its first call counts from then on.
READY = "ready"


def serve(pipe: Connection, log: Connection, threads: int, driver: int, preload: str = "") -> None:
    """Answer calls: receive a function, its arguments and whether it counts; send value, mistake and error.

    Args:
        pipe: to the driver.
        log: what is printed here goes there.
        threads: for torch.
        driver: the process number of the driver; this one ends with it.
        preload: a module that every call will need, imported before the first.
    """
    me, home = os.getpid(), Path.cwd()
    current_process().daemon = False  # a guest may start processes of its own, such as those of a DataLoader
    _detach(driver)
    _limit_memory()
    _print_to(log)
    wait_briefly()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when it is imported, which only some calls need
    keep_freed()
    if preload:
        importlib.import_module(preload)
    pipe.send(READY)
    while True:
        try:
            function, args, counts = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)  # not by return: threads of a guest would keep the process alive
        except Exception as error:  # noqa: BLE001  (what was sent cannot be loaded here)
            pipe.send((None, "", one_line(error), False))
            continue
        news = _News(pipe, me)
        told = _called(function, (*args, news) if counts else args)
        if os.getpid() == me:
            news.stop()
        else:
            os._exit(0)  # a guest has forked, and this is the child, which has nothing to answer
        try:
            pipe.send(told)
        except OSError:
            os._exit(1)
        except Exception as error:  # noqa: BLE001  (a value that cannot be pickled)
            pipe.send((None, "", one_line(error), False))
        # Paths that a guest is given, or that another one has, are relative to where the user is.
        with contextlib.suppress(OSError):
            os.chdir(home)
        _print_to(log)


def _called(function: Callable[..., Any] | str, args: tuple[Any, ...]) -> tuple[Any, str, str, bool]:
    """Return the value of a call, its mistake, its error, and whether that was an attempt to end the process."""
    try:
        return named(function)(*args), "", "", False
    except Exited as error:
        return None, "", str(error), True
    except BenchError as error:
        return None, str(error) or type(error).__name__, "", False
    except SystemExit as error:
        return None, "", str(Exited.by(error)), True
    except BaseException as error:  # noqa: BLE001  (whatever a guest raises)
        return None, "", one_line(error), False


def _detach(driver: int) -> None:
    """Make this process one that signals of the terminal do not reach, and that ends with its driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name != "posix":
        return
    os.setsid()  # a group of its own, so that all that is started here can be ended with it
    if sys.platform == "linux":
        # Where a guest holds the interpreter in a loop of C, no thread of ours gets to run.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Where memory runs out, this process is to be ended, not the driver.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != driver:
        os._exit(1)
    threading.Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)


def _limit_memory() -> None:
    """Refuse a guest more memory than there is, so that it gets an error instead of the system getting slow."""
    if sys.platform != "linux":
        return
    import resource

    there = memory()
    if there is not None and not Path("/dev/nvidiactl").exists():  # a GPU's driver reserves far more than it uses
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (there, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _print_to(log: Connection) -> None:
    """Send what is printed to the driver, also where a guest has closed or replaced its output."""
    if os.name != "posix":
        return
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        with contextlib.suppress(Exception):
            stream.flush()
        with contextlib.suppress(OSError):
            os.dup2(log.fileno(), number)
        if not isinstance(stream, io.TextIOWrapper) or stream.closed:
            setattr(sys, name, open(number, "w", errors="replace", closefd=False))  # noqa: SIM115


class _News:
    """A counter that tells the driver a few times a second, until it is stopped.

    Threads that a guest leaves behind may go on to ask its model: what they tell must not come between the bytes of an
    answer.
    """

    def __init__(self, pipe: Connection, process: int) -> None:
        self._pipe, self._process = pipe, process
        self._count = 0
        self._told = time.monotonic()
        self._one = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Tell what has not been told yet, and nothing from now on."""
        with self._one:
            self._tell()
            self._stopped = True

    def __call__(self, count: int) -> None:
        if os.getpid() != self._process:
            os._exit(0)
        with self._one:
            self._count += count
            if time.monotonic() - self._told >= _SECONDS_BETWEEN_NEWS:
                self._tell()

    def _tell(self) -> None:
        if self._stopped or not self._count:
            return
        try:
            self._pipe.send(self._count)
        except OSError:
            os._exit(1)  # the driver is gone: nobody will ever read the answer
        self._count, self._told = 0, time.monotonic()
