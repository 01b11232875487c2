"""Progress bars on a terminal, which neither leave traces nor erase other output."""

from __future__ import annotations

import os
import sys

from rich import progress
from rich.console import Console
from rich.text import Text

from bench.errors import shown
from bench.report.live.heartbeat import say
from bench.report.live.overheard import Overheard


class Bars:
    """Bars on the error stream if it is a terminal: they vanish at the end, and other output appears above them.

    Attributes:
        live: whether bars are shown.
        shown: the rich object to which tasks are added.
    """

    def __init__(self) -> None:
        plain = Console(stderr=True)
        # Some environments ask for colors in a file; a bar there would be a thousand lines.
        on_terminal = plain.is_terminal and not plain.is_dumb_terminal and sys.stderr.isatty()
        self.live = on_terminal or plain.is_jupyter
        self._overheard = Overheard() if on_terminal else None
        self._console = _console(self._overheard) if self._overheard else plain
        self.shown = progress.Progress(
            # Not as markup: `atop[rt=2]` is a name, and so is `[link=...]`.
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=30),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            console=self._console,
            # The lines above say what happened; a finished bar would only push them up.
            transient=True,
            # `Overheard` catches output at the file descriptors, which also covers workers and C++ code.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Show the bars."""
        if self.live:
            self.shown.start()
        if self._overheard:
            self._overheard.start(lambda line: self._console.print(colored(line)))

    def stop(self) -> None:
        """Remove the bars."""
        if self._overheard:
            self._overheard.stop()
        if self.live:
            self.shown.stop()
            self._console.file.flush()

    def say(self, text: str) -> None:
        """Print a line above the bars, or on the error stream if there are none."""
        if self.live:
            self._console.print(shown(text), highlight=False, markup=False)
        else:
            say(text)


def colored(line: str) -> Text:
    """Return a line that other code printed with its colors, and nothing else of what a terminal obeys."""
    return Text.from_ansi("\x1b".join(map(shown, line.split("\x1b"))))


def _console(overheard: Overheard) -> Console:
    terminal = overheard.terminal
    # Rich asks the standard streams for the width, but output and error are pipes now: only the input can answer.
    width = None if os.isatty(0) or "COLUMNS" in os.environ else os.get_terminal_size(terminal.fileno()).columns
    return Console(file=terminal, width=width)
