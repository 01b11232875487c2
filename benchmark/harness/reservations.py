"""Reservations of cells, where several runs fill one folder at once: the run that starts a cell computes it.

A reservation is a lock of the operating system on a file below `<root>/locks/`, so a killed run frees its own at
once. It saves work and protects nothing: on a file system without locks both runs compute the cell, and write the same
verdicts twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from filelock import BaseFileLock, FileLock, Timeout

from bench.results.cell import Cell
from bench.results.outcome import Done
from bench.results.store import Store

# Each attempt can lose a race against a run that removes the folder; five in a row are no race any more.
_ATTEMPTS = 5


class Reservations:
    """The cells that this run computes, one after the other.

    Attributes:
        elsewhere: by key, the cells that another run was computing, or had just finished, when their turn came.
    """

    def __init__(self, shelves: Mapping[str, Store]) -> None:
        self.elsewhere: dict[str, Cell] = {}
        self._shelves = shelves
        self._held: dict[str, BaseFileLock | None] = {}

    def __enter__(self) -> Reservations:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for key in list(self._held):
            self._let_go(key)
        for store in self._shelves.values():
            with contextlib.suppress(OSError):
                (store.root / "locks").rmdir()

    def take(self, cell: Cell, wait: float = 0.0) -> bool:
        """Reserve a cell, waiting up to `wait` seconds; return `False` if another run computes or has finished it."""
        if cell.key in self._held:
            return True
        try:
            self._held[cell.key] = self._locked(cell, wait)
        except Timeout:
            self.elsewhere[cell.key] = cell
            return False
        # Looked up under the lock: another run may have finished it since the plan was made.
        if isinstance(self._shelves[cell.key].find(cell), Done):
            self._let_go(cell.key)
            self.elsewhere[cell.key] = cell
            return False
        self.elsewhere.pop(cell.key, None)
        return True

    def _locked(self, cell: Cell, wait: float) -> BaseFileLock | None:
        """Acquire the lock of a cell; `None` where the file system has no locks."""
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
        """Release the reservation of a cell, done or failed."""
        if cell.key in self._held:
            self._let_go(cell.key)

    def _let_go(self, key: str) -> None:
        lock = self._held.pop(key)
        if lock is None:
            return
        # Removed while it is held. A run that waits has the file open and will find the cell finished; a third run may
        # lock a new file meanwhile, and at worst two compute the cell.
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


class Unreserved(Reservations):
    """No reservations, for the share of a run: its tasks are nobody else's, though others compute the same cells."""

    def take(self, cell: Cell, wait: float = 0.0) -> bool:
        return True

    def release(self, cell: Cell) -> None:
        pass


def clear(store: Store) -> None:
    """Remove the lock files that killed runs have left: what nobody holds reserves nothing."""
    folder = store.root / "locks"
    for path in folder.glob("*"):
        lock = FileLock(path, is_singleton=False)
        with contextlib.suppress(OSError, NotImplementedError):  # `Timeout`, where somebody holds it, is an OSError
            lock.acquire(timeout=0)
            path.unlink(missing_ok=True)
            lock.release()
    with contextlib.suppress(OSError):
        folder.rmdir()
