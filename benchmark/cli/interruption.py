"""The answer to Ctrl-C, SIGTERM, SIGHUP and a full disk: what is kept, and the command that resumes."""

from __future__ import annotations

import errno
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench.errors import Terminated

INTERRUPTED, TERMINATED, HUNG_UP, NO_SPACE = 130, 143, 129, 6
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HOW = {INTERRUPTED: "interrupted", NO_SPACE: "no space left on the device"}
# The commands that resume where they stopped.
_RESUMED = ("run", "search-attack", "train")


class Stopped(Exception):
    """The end of a command by a signal or a full disk, with what it has kept.

    Attributes:
        status: the exit status of the process.
        kept: a clause that says what is stored.
    """

    def __init__(self, status: int, kept: str = "") -> None:
        super().__init__(kept)
        self.status = status
        self.kept = kept

    def line(self, words: Sequence[str]) -> str:
        """Return a line to print; `words` are those of the stopped command."""
        kept = f": {self.kept}" if self.kept else ""
        then = "free some, then resume" if self.status == NO_SPACE else "resume"
        resumed = f"; {then} with: {typed(*words)}" if words and words[0] in _RESUMED else ""
        return f"{_HOW.get(self.status, 'terminated')}{kept}{resumed}"


def status_of(error: SystemExit) -> int | None:
    """Return the exit status that `terminable` makes of a signal; `None` for any other exit."""
    return error.code if isinstance(error.code, int) and error.code in (TERMINATED, HUNG_UP) else None


def is_full(error: BaseException) -> bool:
    """Return whether an error is that of a full disk, or of a quota that is used up."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP inside the block into `Terminated`, so that workers are stopped and files closed.

    A second signal, of these or Ctrl-C, ends the process at once: whatever is being cleaned up may hang.
    """
    if threading.current_thread() is not threading.main_thread():  # only there signals can be asked for
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Not what somebody ignores, as nohup does, or answers in their own way, as a notebook does.
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) in usual}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(128 + number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def keeping(kept: Callable[[], str]) -> Iterator[None]:
    """Add what is kept to the message when a signal or a full disk ends the block.

    Raises:
        Stopped: in place of the exception, after the block has ended.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(INTERRUPTED, kept()) from error
    except SystemExit as error:
        status = status_of(error)
        if status is None:
            raise
        raise Stopped(status, kept()) from error
    except OSError as error:
        if not is_full(error):
            raise
        raise Stopped(NO_SPACE, kept()) from error


def typed(*words: str) -> str:
    """Return a command that can be pasted into this shell."""
    mine = Path(sys.argv[0])
    # From a virtual environment that is not active, the command is typed by its path.
    by_path = not shutil.which("bench") and mine.name in ("bench", "atop-bench")
    return shlex.join([str(mine) if by_path else "bench", *words])
