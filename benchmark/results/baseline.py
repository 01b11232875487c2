"""A baseline: a results folder that others are compared with, and that is replaced as a whole.

A baseline is replaced by another folder, never edited: a part of it from another defense would be no baseline. The new
one is written beside it and takes its name in one step, so a killed update leaves the old one or the new one.
"""

from __future__ import annotations

import ctypes
import glob
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.results.cell import Result
from bench.results.documents import read
from bench.results.outcome import Failed
from bench.results.places import below

# A file of a cell, by the first 16 digits of its key: finished, a shard of it, or the error of a failed one.
_OF_A_CELL = re.compile(r"^(?!checks\.|examples\.).+\.(?P<key>[0-9a-f]{16})(?P<more>\.shard-\d+|\.failed)?\.json$")
# Documents of these belong to no cell of the table.
_OTHERS = ("checks", "runs", "recognized", "preflight", "plans")
_OURS = (".json", ".safetensors")
# Of renameat2 (linux/fs.h, fcntl.h) and of renamex_np (macOS, sys/stdio.h).
_RENAME_EXCHANGE, _AT_FDCWD, _RENAME_SWAP = 2, -100, 2
# In seconds: what is younger may be an update that is at work.
_STALE = 3600.0


def unfinished(results: Sequence[Result]) -> list[str]:
    """Return a line for each cell that a baseline could not hold anybody to: failed, missing or blocked."""
    told = []
    for result in results:
        blocks = [finding.message for finding in result.findings if finding.verdict == "block"]
        if blocks:
            told.append(f"{result.cell.title}: blocked: {blocks[0]}")
        elif result.outcome is None:
            told.append(f"{result.cell.title}: missing")
        elif isinstance(result.outcome, Failed):
            told.append(f"{result.cell.title}: failed: {' '.join(result.outcome.error.split())}")
    return told


def documents(root: Path, results: Sequence[Result]) -> list[Path]:
    """Return the documents that the present state of a folder is made of, relative to it.

    Left out are cells that later runs have replaced, shards, adversarial images, locks and temporary files: nothing
    that a comparison reads.
    """
    keys = {result.cell.key[:16] for result in results}
    for path in (root / "matrix.json", *sorted((root / "runs").glob("[!.]*.json"))):
        for row in (read(path) or {"cells": ()})["cells"]:
            if row["key"][:16] in keys:  # the parts of a worst case are cells that the table may not show
                keys |= {key[:16] for key in row.get("parts", ())}
    found = []
    for path in below(root):
        place = path.relative_to(root)
        match = _OF_A_CELL.match(path.name)
        if path.suffix != ".json" or path.name.startswith(".") or "locks" in place.parts:
            continue
        if match and not set(place.parts[:-1]) & set(_OTHERS):
            whole = match["more"] in (None, ".failed")
            if match["key"] not in keys or not whole:
                continue
        found.append(place)
    return found


def made_by(root: Path, documents: Sequence[Path]) -> Counter[str]:
    """Return how many finished cells each torch, machine and version of the package made."""
    found: Counter[str] = Counter()
    for place in documents:
        document = read(root / place) or {}
        made = document.get("provenance", {})
        if "verdicts" in document and made:
            told = (f"{name} {made[name]}" for name in ("atop-bench", "torch", "python", "machine") if name in made)
            found[", ".join(told)] += 1
    return found


def replace(baseline: Path, root: Path, documents: Sequence[Path]) -> None:
    """Make these documents of a folder the baseline, in one step.

    Files of the old baseline that are no documents, such as a README, stay.

    Raises:
        BenchError: a document is damaged, one folder lies in the other, or what is to be replaced is no results folder.
    """
    require_apart(baseline, root)
    baseline, root = baseline.resolve(), root.resolve()
    restore(baseline)
    require_ours(baseline)
    baseline.parent.mkdir(parents=True, exist_ok=True)
    _clear(baseline)
    new = baseline.with_name(f".tmp-{os.urandom(4).hex()}-{baseline.name}")
    try:
        for place in documents:
            read(root / place)  # a damaged one is found before anything is replaced
            _copy(root / place, new / place)
        for path in _foreign(baseline):
            _copy(path, new / path.relative_to(baseline))
        _sync(new)
        if baseline.exists():
            _exchange(new, baseline)
        else:
            new.rename(baseline)
    finally:
        # After the exchange this is the old baseline.
        shutil.rmtree(new, ignore_errors=True)


def restore(baseline: Path) -> None:
    """Give an old baseline its name back, where an update was killed on a system that cannot exchange two folders."""
    aside = _aside(baseline)
    if aside.is_dir() and not baseline.exists():
        aside.rename(baseline)


def require_ours(baseline: Path) -> None:
    """Raise a BenchError if a folder holds something, but no results: it is somebody else's."""
    ours = (baseline / "runs").is_dir() or (baseline / "matrix.json").is_file()
    if baseline.is_dir() and any(baseline.iterdir()) and not ours:
        raise BenchError(f"{str(baseline)!r} is no results folder: name a new or empty one, or an earlier baseline")


def require_apart(baseline: Path, root: Path) -> None:
    """Raise a BenchError if one of two folders is the other or lies in it."""
    baseline, root = baseline.resolve(), root.resolve()
    if baseline == root or baseline in root.parents or root in baseline.parents:
        raise BenchError(f"{str(baseline)!r} and {str(root)!r} lie in each other: name two folders")


def _foreign(baseline: Path) -> list[Path]:
    """Return files that no run wrote: a README, a table, a claim."""
    if not baseline.is_dir():
        return []
    files = [path for path in below(baseline) if path.is_file() and not path.name.startswith(".tmp-")]
    beside = [path for path in files if path.parent == baseline and path.name != "matrix.json"]
    inside = [path for path in files if path.suffix not in _OURS and "locks" not in path.relative_to(baseline).parts]
    return sorted({*beside, *inside})


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Bring the names in a folder and below to the disk."""
    folder.mkdir(exist_ok=True)
    if os.name == "posix":
        for place in (folder, *(path for path in below(folder) if path.is_dir())):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Exchange the names of two folders: at once where the system can, else so that `restore` can undo a half."""
    if _exchanged(os.fsencode(new), os.fsencode(old)):
        return
    aside = _aside(old)
    shutil.rmtree(aside, ignore_errors=True)
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _exchanged(one: bytes, other: bytes) -> bool:
    """Exchange two names in one call; return whether this system and this file system can."""
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        return bool(library.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE) == 0)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return bool(library.renamex_np(one, other, _RENAME_SWAP) == 0)
    return False


def _aside(baseline: Path) -> Path:
    place = baseline.resolve()  # `.` and `..` have no name of their own
    return place.with_name(f".old-{place.name}")


def _clear(baseline: Path) -> None:
    """Remove what updates that were killed have left beside a baseline."""
    for path in baseline.parent.glob(f".tmp-????????-{glob.escape(baseline.name)}"):
        if path.is_dir() and time.time() - path.stat().st_mtime > _STALE:
            shutil.rmtree(path, ignore_errors=True)
