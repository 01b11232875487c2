"""Watchers: who is told of the progress of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bench.results.cell import Cell
from bench.results.outcome import Done, Failed


class Watcher(Protocol):
    """A display of a run's progress."""

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None: ...
    def advance(self, cell: Cell, passed: int) -> None: ...
    def end(self, cell: Cell, outcome: Done | Failed) -> None: ...
    def leave(self, cell: Cell, shards: int) -> None:
        """Called when this run has computed its part of a cell that others finish; so many shards are there."""

    def wait(self, cells: Sequence[Cell]) -> None:
        """Report that another run is computing these cells, before waiting for it."""

    def say(self, text: str) -> None:
        """Something that a user should know, a line."""

    def step(self, what: str) -> None:
        """Called before a step without progress of its own, such as reading images."""


class Silent:
    """A watcher that shows nothing."""

    def begin(self, cells: Sequence[Cell], stored: int, beside: Sequence[Cell] = ()) -> None: ...
    def advance(self, cell: Cell, passed: int) -> None: ...
    def end(self, cell: Cell, outcome: Done | Failed) -> None: ...
    def leave(self, cell: Cell, shards: int) -> None: ...
    def wait(self, cells: Sequence[Cell]) -> None: ...
    def say(self, text: str) -> None: ...
    def step(self, what: str) -> None: ...
