"""Who computes a cell, where several runs fill one folder at once: the first that begins with it.

A claim is a lock of the operating system on a file below `<root>/locks/`, so that of a killed run is free at once.
It saves work and protects nothing: where a file system knows no locks both runs compute, and the same verdicts are
written twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from filelock import BaseFileLock, FileLock, Timeout

from bench.cell import Cell
from bench.outcome import Done
from bench.store import Store

_ATTEMPTS = 5


class Claims:
    """The cells that this run computes, one after the other.

    Attributes:
        elsewhere: by their keys, those that another run was computing, or had just finished, when their turn came.
    """

    def __init__(self, shelves: Mapping[str, Store]) -> None:
        self.elsewhere: dict[str, Cell] = {}
        self._shelves = shelves
        self._held: dict[str, BaseFileLock | None] = {}

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for key in list(self._held):
            self._let_go(key)
        for store in self._shelves.values():
            with contextlib.suppress(OSError):
                (store.root / "locks").rmdir()

    def take(self, cell: Cell, wait: float = 0.0) -> bool:
        """Claim a cell, waiting so many seconds for another run; `False` where that has it, or has finished it."""
        if cell.key in self._held:
            return True
        try:
            self._held[cell.key] = self._locked(cell, wait)
        except Timeout:
            self.elsewhere[cell.key] = cell
            return False
        if isinstance(self._shelves[cell.key].find(cell), Done):
            self._let_go(cell.key)
            self.elsewhere[cell.key] = cell
            return False
        self.elsewhere.pop(cell.key, None)
        return True

    def _locked(self, cell: Cell, wait: float) -> BaseFileLock | None:
        """The lock of a cell; `None` where there are no locks."""
        for _ in range(_ATTEMPTS):
            lock = FileLock(self._shelves[cell.key].lock(cell))
            try:
                lock.acquire(timeout=wait)
            except Timeout:
                raise
            except FileNotFoundError:  # another run has just removed the folder, with its last lock
                continue
            except (OSError, NotImplementedError):
                return None
            return lock
        return None

    def release(self, cell: Cell) -> None:
        """Give a cell back that is settled, whatever became of it."""
        if cell.key in self._held:
            self._let_go(cell.key)

    def _let_go(self, key: str) -> None:
        lock = self._held.pop(key)
        if lock is None:
            return
        # Removed while it is held: who waits has the file open, and finds the cell finished. At worst two compute it.
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
