"""Calls in other processes, and what becomes of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class End(Enum):
    """How a process ended before it answered."""

    DIED = "died"
    KILLED = "killed"
    HUNG = "hung"


class Elsewhere(Exception):
    """An error in another process, as one line.

    Attributes:
        end: how that process ended; `None` where it only raised.
    """

    def __init__(self, text: str, end: End | None = None) -> None:
        super().__init__(text)
        self.end = end


@dataclass(frozen=True)
class Call:
    """A call in another process.

    Attributes:
        function: of a module, or `"module:name"` of one that is not to be imported here; `args` are pickled.
        guest: whose code it runs beside ours.
        limit: the most seconds it may take; `None` for any time.
        counts: whether the function takes, as its last argument, a function to call with numbers: its progress.
        tag: whatever the caller knows it by.
    """

    function: Callable[..., Any] | str
    args: tuple[Any, ...] = ()
    guest: str = ""
    limit: float | None = None
    counts: bool = False
    tag: Any = None


@dataclass(frozen=True)
class Answer:
    """What a call returned, or the error that it raised instead."""

    call: Call
    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:  # noqa: ANN401  (whatever the function returns)
        """Return the value, or raise the error: a BenchError where it was one there, else `Elsewhere`."""
        if self.error is not None:
            raise self.error
        return self.value


def named(function: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return a function, or the one that `"module:name"` names."""
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
