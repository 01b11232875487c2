"""What was read from files and folders, read again only where they have changed since."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

Of = TypeVar("Of")

# A document of a cell or of one of its shards: `<attack>.<key>.json`, `<attack>.<key>.shard-<i>.json`. One that begins
# with a dot is what a killed run was writing.
_OF_A_CELL = re.compile(r"(?P<cell>[^.].*\.(?P<key>[0-9a-f]{16}))(\.shard-(?P<shard>\d+))?\.json", re.ASCII)
# In seconds: clocks of file systems tick this often at worst, so a younger time may stand for two states of a folder.
TICK = 2.0


class Remembered(Generic[Of]):
    """A function of a path whose results hold until the file or folder there changes.

    Args:
        read: the function.
        tick: a path that changed within so many seconds before it was read is read again. A file of ours needs none:
            it is never written to, but replaced by another one.
    """

    def __init__(self, read: Callable[[Path], Of], tick: float = 0.0) -> None:
        self._read, self._tick = read, tick
        self._held: dict[Path, tuple[object, Of]] = {}

    def __call__(self, path: Path) -> Of:
        # Before the path is read: should it change meanwhile, it is read again.
        try:
            told = path.stat()
        except OSError:
            state, changed = None, 0.0
        else:
            # The time of the last change of any kind, too: whoever sets the other one, such as `cp -p`, cannot set it.
            state = (told.st_ino, told.st_mtime_ns, told.st_ctime_ns, told.st_size)
            changed = told.st_mtime
        if path in self._held and self._held[path][0] == state:
            return self._held[path][1]
        began = time.time()
        found = self._read(path)
        if not 0 <= began - changed < self._tick:
            self._held[path] = (state, found)
        return found


@dataclass(frozen=True)
class CellNames:
    """The documents in a folder of cells.

    Attributes:
        documents: the names of finished cells, by the beginning of their key.
        shards: the numbers of shards, by the name of their cell's document without `.json`.
    """

    documents: Mapping[str, str]
    shards: Mapping[str, Sequence[int]]


def cell_names(folder: Path) -> CellNames:
    """List a folder of cells; one that is not there is empty."""
    documents: dict[str, str] = {}
    shards: dict[str, list[int]] = {}
    for match in filter(None, map(_OF_A_CELL.fullmatch, _names(folder))):
        if match["shard"] is None:
            documents[match["key"]] = match[0]
        else:
            shards.setdefault(match["cell"], []).append(int(match["shard"]))
    return CellNames(documents, {cell: sorted(numbers) for cell, numbers in shards.items()})


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
