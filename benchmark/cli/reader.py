"""The border between a command and who reads it: a reader who has gone, as in `bench table | head -1`, and a terminal.

Whatever a command prints passes here once, so no name, path or error of other people reaches a terminal as a command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO

from bench.errors import shown


class _Patient:
    """A text stream without control characters, which loses what nobody reads instead of ending the command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            # A bar of another library begins with a return to the beginning of its line, and does no more with it.
            self._stream.write("\r" * text.startswith("\r") + shown(text))
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
    Nor does it matter where nobody was there from the beginning (`>&-`, a service without a terminal).
    """
    before = sys.stdout, sys.stderr
    with ExitStack() as opened:
        mine: list[Any] = [
            _Patient(_nowhere(number, opened) if stream is None else stream) for number, stream in enumerate(before, 1)
        ]
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


def _nowhere(number: int, opened: ExitStack) -> TextIO:
    """Open a stream that loses everything, and keep the descriptor of a closed one from the files that we open.

    Code of others, and processes that are started, write to descriptor 1 whatever it belongs to.
    """
    stream = opened.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    try:
        os.fstat(number)
    except OSError:
        os.dup2(stream.fileno(), number)
    return stream
