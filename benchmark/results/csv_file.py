"""CSV files, written atomically, with text that no spreadsheet takes for a formula.

Accuracies are in percent with two decimals, in the columns `accuracy`, `low` and `high` of every file.
"""

from __future__ import annotations

import csv
import errno
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError, shown
from bench.machine.system import write_whole
from bench.results.judging import Accuracy

# With these begins what a spreadsheet computes.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def percentages(accuracy: Accuracy) -> dict[str, str]:
    """Return the columns of one accuracy and its interval."""
    shown = (accuracy.value, *accuracy.interval)
    return {name: f"{100 * value:.2f}" for name, value in zip(("accuracy", "low", "high"), shown, strict=True)}


def write(lines: Iterable[Mapping[str, str]], columns: Sequence[str], numbers: Collection[str], path: Path) -> None:
    """Write a file with a header; it appears whole or not at all, and the same lines give the same bytes.

    Args:
        lines: the text of each column, by name.
        columns: the names of the columns, in order.
        numbers: the columns that hold numbers; the text of every other column is made harmless.
        path: the file; its folder is made.

    Raises:
        BenchError: it is a folder, or cannot be written.
    """
    save(encoded(lines, columns, numbers), path)


def save(content: bytes, path: Path) -> None:
    """Write the bytes of such a file, whole or not at all.

    Raises:
        BenchError: it is a folder, or cannot be written.
    """
    if path.is_dir():
        raise BenchError(f"{str(path)!r} is a folder: name a file, such as {str(path / 'NAME.csv')!r}")
    try:
        write_whole(path, content)
    except OSError as error:
        if error.errno in (None, errno.ENOSPC):  # another name would not help
            raise
        raise BenchError(f"{str(path)!r} cannot be written ({error.strerror}): name another file") from None


def encoded(lines: Iterable[Mapping[str, str]], columns: Sequence[str], numbers: Collection[str]) -> bytes:
    """Return the bytes of such a file."""
    text = io.StringIO(newline="")
    # One line end on every system, so that the same results give the same bytes.
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({name: value if name in numbers else _harmless(value) for name, value in line.items()})
    return text.getvalue().encode()


def _harmless(text: str) -> str:
    """Guard text against being read as a formula, because labels and errors come from other people's code."""
    # Readers of CSV disagree about line breaks within a cell; and a file is also read by `cat`, on a terminal.
    plain = shown(text.replace("\r", " ").replace("\n", " "))
    # Before and after: an invisible character may stand before the sign, or have been one itself.
    return "'" + plain if text.startswith(_FORMULA) or plain.startswith(_FORMULA) else plain
