"""Output that goes on when its reader has gone, as in `bench table | head -1`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _Patient:
    """A text stream that loses what nobody reads, instead of ending the command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._forget()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._forget()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._stream, name)

    def _forget(self) -> None:
        """Send what is still to come, and what is buffered, nowhere."""
        with suppress(OSError):  # a stream in memory has no descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def unread() -> Iterator[None]:
    """Inside, a reader that goes away changes neither what a command does nor its exit status.

    A gate must not pass because somebody read only its first line, and files are written after the tables are printed.
    """
    before = sys.stdout, sys.stderr
    mine: list[Any] = [_Patient(stream) for stream in before]
    sys.stdout, sys.stderr = mine
    try:
        yield
    finally:
        for stream in mine:  # here, not by the interpreter at its end, which makes an error of it
            stream.flush()
        # Unless somebody inside has put another in its place.
        if sys.stdout is mine[0]:
            sys.stdout = before[0]
        if sys.stderr is mine[1]:
            sys.stderr = before[1]
