"""The options that all calls on a borrowed GPU share, and their log."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bench.errors import BenchError
from gpu.uninstalled import BUILD


def options(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all calls share."""
    given = argparse.ArgumentParser(
        f"python -m {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given.add_argument("--minutes", type=float, default=9.0, help="the call ends by then, by its own clock")
    given.add_argument("--archives", type=Path, help="folder of DATASET-*.zip, such as cifar10-train-0.zip")
    given.add_argument("--work", type=Path, default=BUILD, help="where everything is kept between calls")
    given.add_argument("--out", type=Path, default=BUILD / "out", help="where the parcel is written")
    given.add_argument("--device", default="cuda")
    given.add_argument("--tiny", action="store_true", help="so little of everything that a CPU takes a minute")
    return given


def called(given: argparse.Namespace, name: str, work: Callable[[], int]) -> int:
    """Do the work with a log in the parcel; return its exit status, or 2 after a mistake in the request."""
    given.out.mkdir(parents=True, exist_ok=True)
    with logged(given.out / f"{name}.log"):
        try:
            return work()
        except BenchError as error:
            print(f"gpu: {error}", file=sys.stderr)
            return 2


class _Both:
    """A stream that writes to two others."""

    def __init__(self, shown: TextIO, kept: TextIO) -> None:
        self._shown, self._kept = shown, kept

    def write(self, text: str) -> int:
        self._kept.write(text)
        self._kept.flush()  # at once: the call may be killed, and its log is all that remains
        return self._shown.write(text)

    def flush(self) -> None:
        self._shown.flush()

    def isatty(self) -> bool:
        """Return `False`, so that no progress bar writes its control characters into the log."""
        return False

    def __getattr__(self, name: str) -> object:
        return getattr(self._shown, name)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Append everything printed in the block to a file."""
    shown = sys.stdout, sys.stderr
    with path.open("a", encoding="utf-8") as kept:
        sys.stdout, sys.stderr = _Both(shown[0], kept), _Both(shown[1], kept)  # type: ignore[assignment]
        try:
            yield
        finally:
            sys.stdout, sys.stderr = shown
