"""Processes of our own, which import nothing from the folder that a run is typed in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SAFE = "PYTHONSAFEPATH"


@contextmanager
def safe_path() -> Iterator[None]:
    """Start processes inside: a `socket.py` of the user's is not what they take for the standard library's.

    multiprocessing starts them, and its resource tracker, by `python -c`, which puts the working directory
    before everything else. From Python 3.11 on the environment says otherwise.
    """
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before
