"""The threads of a computation: how many it may have, and how long each waits awake for the others."""

from __future__ import annotations

import os

# Rounds that a thread of GNU's OpenMP, which torch computes with on Linux, spins before it sleeps: tens of
# microseconds, and longer than most waits within a layer.
ROUNDS = "4000"
_OWN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def wait_briefly() -> None:
    """Have threads that wait for others give up their core soon; to be called before torch is imported.

    By default they spin for milliseconds, at the end of every layer. Where something else needs the core, that is what
    the thread they wait for would run on, and two threads take fifty times as long as one. Where nothing else runs,
    nothing is lost (`performance/busy.py`). What the user has set stays.
    """
    if not any(name in os.environ for name in _OWN):
        os.environ["GOMP_SPINCOUNT"] = ROUNDS


def asked() -> int | None:
    """Return the threads per process that the user asks for by `OMP_NUM_THREADS`; `None` where it names no number."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None
