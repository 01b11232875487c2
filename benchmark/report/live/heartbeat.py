"""Signs of life in logs without bars: after most of a minute of silence, a line says what is running."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.errors import shown

# Seconds of silence before a line is printed; checked once a second, so that no minute passes without one.
EVERY = 55.0


class Heartbeat:
    """A thread that prints a line after a while of silence.

    Args:
        told: returns the line.
        say: prints it.
        every: seconds of silence before the line.
        clock: returns seconds since any fixed time.
    """

    def __init__(
        self,
        told: Callable[[], str],
        say: Callable[[str], None],
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told, self._say, self._every, self._clock = told, say, every, clock
        self._heard = clock()
        self._stopped = threading.Event()
        # A daemon, so that it cannot keep a crashed process alive.
        self._thread = threading.Thread(target=self._listen, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self.heard()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()

    def heard(self) -> None:
        """Note that a line was printed elsewhere."""
        self._heard = self._clock()

    def beat(self) -> None:
        """Say something if nothing was heard for too long."""
        if self._clock() - self._heard >= self._every:
            self._say(self._told())
            self.heard()

    def _listen(self) -> None:
        while not self._stopped.wait(min(1.0, self._every)):
            self.beat()


def say(text: str) -> None:
    """Print a line on the error stream; if its reader has gone, the run goes on without output."""
    with contextlib.suppress(BrokenPipeError):
        print(shown(text), file=sys.stderr, flush=True)


def span(seconds: float) -> str:
    """Return a duration as `45 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def still(what: str, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> Iterator[Heartbeat]:
    """Print now and then `what` a step without progress of its own is doing, and for how long already."""
    began = clock()
    with Heartbeat(lambda: f"still {what}, {span(clock() - began)}", say, every, clock) as heart:
        yield heart
