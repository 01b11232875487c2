"""What a command says of the images it was asked to load, on the error stream and once."""

from __future__ import annotations

import contextlib
import sys

from bench.datasets.load import order_of_classes


def say_order_of_classes(dataset: str) -> None:
    """Tell which order the classes of an image folder are in, where one might think of another."""
    note = order_of_classes(dataset)
    # Who closed the error stream wants the results all the same.
    with contextlib.suppress(BrokenPipeError):
        if note is not None:
            print(f"note: {note}", file=sys.stderr)
