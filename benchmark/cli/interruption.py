"""The answer to Ctrl-C and SIGTERM: what is kept, and the command that resumes."""

from __future__ import annotations

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

INTERRUPTED, TERMINATED = 130, 143
# The commands that resume where they stopped.
_RESUMED = ("run", "train")


class Stopped(Exception):
    """The end of a command by a signal, with what it has kept.

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
        how = "terminated" if self.status == TERMINATED else "interrupted"
        kept = f": {self.kept}" if self.kept else ""
        return f"{how}{kept}" + (f"; resume with: {typed(*words)}" if words and words[0] in _RESUMED else "")


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM inside the block into `Terminated`, so that workers are stopped and files closed."""
    if threading.current_thread() is not threading.main_thread():  # only there signals can be asked for
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def keeping(kept: Callable[[], str]) -> Iterator[None]:
    """Add what is kept to the message when Ctrl-C or SIGTERM ends the block.

    Raises:
        Stopped: in place of the signal's exception, after the block has ended.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(INTERRUPTED, kept()) from error
    except SystemExit as error:
        if error.code != TERMINATED:
            raise
        raise Stopped(TERMINATED, kept()) from error


def typed(*words: str) -> str:
    """Return a command that can be pasted into this shell."""
    mine = Path(sys.argv[0])
    # From a virtual environment that is not active, the command is typed by its path.
    by_path = not shutil.which("bench") and mine.name in ("bench", "atop-bench")
    return shlex.join([str(mine) if by_path else "bench", *words])
