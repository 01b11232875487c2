"""Files that a task is loaded from, for machines that may not have them: users' code, and checkpoints.

A reference names paths on the machine of the run. Another machine looks there first, and takes what it finds if it is
the same to the byte; else the files travel to it, and the task is told where they lie there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.catalogue.identity import of_file, of_text
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.machine.system import write_whole
from bench.results.cell import Cell

# A file's bytes: an array, because those are shared between processes without a copy.
Content = NDArray[np.uint8]


@dataclass(frozen=True)
class Tree:
    """Files below one folder that have to lie together: a user's file and what it imports, or one checkpoint.

    Attributes:
        root: the folder, on the machine of the run.
        files: name below the folder and SHA-256 of each file.
    """

    root: str
    files: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """Return what tells it from other trees, wherever it lies."""
        return of_text(*self.files)

    def lies_in(self, folder: Path) -> bool:
        """Return whether a folder holds these very files."""
        return all(_same(folder / name, sha) for name, sha in self.files)


def trees(cell: Cell) -> dict[str, Tree]:
    """Return the files that the defense and the attack of a cell are loaded from, by the path that a reference names.

    The first file of each tree is the one at that path.
    """
    found = {}
    for ref in _refs(cell):
        if (text := _file_of(ref.source)) is not None:
            from bench.catalogue.user_file import read_along  # not at the top: it imports torch

            path = Path(text).resolve()
            found[text] = Tree(str(path.parent), ((path.name, of_file(path)), *read_along(path)))
        if isinstance(ref, DefenseRef):
            for name, text in ref.checkpoints.items():
                path = Path(text).absolute()
                found[text] = Tree(str(path.parent), ((path.name, ref.weights.get(name) or of_file(path)),))
    return found


def content(tree: Tree, name: str) -> Content:
    """Read a file of a tree on the machine of the run.

    Raises:
        BenchError: it is not the one that the tree names any more.
    """
    path = Path(tree.root, name)
    try:
        found = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise BenchError(f"cannot read {str(path)!r}: {error.strerror}; run again") from error
    if hashlib.sha256(found.data).hexdigest() != dict(tree.files)[name]:
        raise BenchError(f"{path} was changed while the run was under way: run again")
    return found


def settle(tree: Tree, folder: Path, fetch: Callable[[str], Content]) -> Path:
    """Return the folder that holds a tree on this machine: its own where it is here, else one below `folder`.

    Args:
        tree: the files.
        folder: where files go that are not here; nobody else can write there.
        fetch: returns the content of a file by its SHA-256.

    Raises:
        BenchError: what was fetched is not the file that the tree names.
    """
    if tree.lies_in(own := Path(tree.root)):
        return own
    there = folder / tree.digest[:16]
    for name, sha in tree.files:
        if _same(there / name, sha):
            continue
        bytes_ = fetch(sha).tobytes()
        if hashlib.sha256(bytes_).hexdigest() != sha:
            raise BenchError(f"{name} did not arrive as it was sent: run again")
        write_whole(there / name, bytes_)
    return there


def moved(cell: Cell, places: Mapping[str, str]) -> Cell:
    """Return a cell whose references name other paths, as `places` says; its key is the same."""
    return replace(cell, defense=_moved_defense(cell.defense, places), attack=_moved_attack(cell.attack, places))


def _refs(cell: Cell) -> Iterator[DefenseRef | AttackRef]:
    """Yield every reference of a cell that names files of its own."""
    waiting: list[DefenseRef | AttackRef | None] = [cell.defense, cell.attack]
    while waiting:
        ref = waiting.pop()
        if isinstance(ref, DefenseRef):
            waiting.append(ref.behind)
        elif ref is not None:
            waiting += [ref.surrogate, *ref.stages, *ref.reserve]
        if ref is not None:
            yield ref


def _file_of(source: str) -> str | None:
    """Return the path of a user's file, `None` where a source is no file."""
    path = source.partition(":")[0]
    return path if path.endswith(".py") else None


def _moved_defense(ref: DefenseRef, places: Mapping[str, str]) -> DefenseRef:
    return replace(
        ref,
        source=_moved_source(ref.source, places),
        checkpoints={name: places[path] for name, path in ref.checkpoints.items()},
        behind=None if ref.behind is None else _moved_defense(ref.behind, places),
    )


def _moved_attack(ref: AttackRef, places: Mapping[str, str]) -> AttackRef:
    return replace(
        ref,
        source=_moved_source(ref.source, places),
        surrogate=None if ref.surrogate is None else _moved_defense(ref.surrogate, places),
        stages=tuple(_moved_attack(each, places) for each in ref.stages),
        reserve=tuple(_moved_attack(each, places) for each in ref.reserve),
    )


def _moved_source(source: str, places: Mapping[str, str]) -> str:
    path = _file_of(source)
    return source if path is None else places[path] + source.removeprefix(path)


# Digests of files that were read before, by path, size and time: a checkpoint is read once per process, not per task.
_known: dict[tuple[str, int, int], str] = {}


def _same(path: Path, sha: str) -> bool:
    """Return whether a path holds a file with this SHA-256."""
    try:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in _known:
            _known[key] = of_file(path)
    except (OSError, BenchError):
        return False
    return _known[key] == sha
