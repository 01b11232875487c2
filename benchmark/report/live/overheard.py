"""Output that other code writes to the terminal while bars are shown: workers, C++ code, a user's own `print`.

A bar is redrawn by moving the cursor up. A line from elsewhere moves the cursor down, so that the next drawing
leaves the top of the old bar behind and erases that line. This module catches such output at the file descriptors
and passes it on line by line, to be printed above the bars.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Callable

_CHUNK = 65536
# Seconds to wait for the last output to be read, after the streams are restored.
_PATIENCE = 1.0


class Overheard:
    """A catcher of output to those standard streams that are terminals.

    Attributes:
        terminal: the original error stream, to draw on meanwhile.
    """

    def __init__(self) -> None:
        self.terminal = os.fdopen(os.dup(2), "w")
        self._kept: dict[int, int] = {}
        self._mouth = -1
        # A random end mark: once it is read, everything written before has been read.
        self._end = f"\0{secrets.token_hex(8)}\n".encode()
        self._quiet = threading.Event()

    def start(self, say: Callable[[str], None]) -> None:
        """Begin to catch output; a thread passes every line to `say`."""
        _flush()
        ear, self._mouth = os.pipe()
        for number in (1, 2):
            if os.isatty(number):
                self._kept[number] = os.dup(number)
                os.dup2(self._mouth, number)
        # It ends only when every child process that inherited the pipe has ended, such as a resource tracker.
        threading.Thread(target=self._listen, args=(ear, say), name="overheard", daemon=True).start()

    def stop(self) -> None:
        """Restore the streams; everything written until now has been passed on."""
        _flush()
        for number, kept in self._kept.items():
            os.dup2(kept, number)
            os.close(kept)
        self._kept.clear()
        os.write(self._mouth, self._end)
        os.close(self._mouth)
        self._quiet.wait(_PATIENCE)

    def _listen(self, ear: int, say: Callable[[str], None]) -> None:
        rest = b""
        while chunk := os.read(ear, _CHUNK):
            rest += chunk
            before, over, after = rest.partition(self._end)
            # The end mark ends an unfinished line, which may be left when the streams are restored.
            made = b"\n" if over and before and not before.endswith(b"\n") else b""
            *lines, rest = (before + made + after).split(b"\n")
            for line in lines:
                # Other code's own bar redraws itself after a carriage return: only its last state is shown.
                say(line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace"))
            if over:
                self._quiet.set()
        os.close(ear)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
