"""Housekeeping of a results folder: the runs that filled it, damaged documents, and files that no run names."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.results.documents import read, read_images
from bench.results.inventory import outcome_of
from bench.results.places import below
from bench.results.shapes import damaged as damaged_as

# A file of a cell: `<attack>.<key>.json`, its shards, the error of a failed one, its images.
_OF_A_CELL = re.compile(
    r"^(?!checks\.|examples\.|\.).+\.(?P<key>[0-9a-f]{16})(\.shard-\d+|\.failed)?\.(json|safetensors)$"
)
# Folders of documents that belong to no single cell.
_OTHERS = ("archives", "checks", "runs", "recognized", "preflight", "plans")
# In seconds: a younger temporary file may still be in use.
_STALE = 3600.0


@dataclass(frozen=True)
class RunRecord:
    """The request of one run.

    Attributes:
        when: in UTC, as ISO text; empty for the runs that earlier versions recorded in one file.
        cells, skipped: how many cells it named, and how many of these were skipped.
        defenses, attacks, threats: those of its cells, each once.
        code: digest of the harness that ran it, shortened.
    """

    when: str
    cells: int
    skipped: int
    defenses: tuple[str, ...]
    attacks: tuple[str, ...]
    threats: tuple[str, ...]
    code: str


def runs(root: Path) -> list[RunRecord]:
    """Return the runs that filled a folder, the oldest first."""
    found = []
    for document in _asked(root):
        cells = [row["cell"] for row in document["cells"]]
        found.append(
            RunRecord(
                document.get("when", ""),
                len(cells),
                sum(row["skip"] is not None for row in document["cells"]),
                tuple(dict.fromkeys(cell["defense"]["label"] for cell in cells)),
                tuple(dict.fromkeys(cell["attack"]["label"] for cell in cells)),
                tuple(dict.fromkeys(cell["threat"] for cell in cells)),
                str(document.get("code", "")),
            )
        )
    return found


def damaged(root: Path) -> list[str]:
    """Return a line for each damaged document or file of images in a folder."""
    told = []
    for path in documents(root):
        match = _OF_A_CELL.match(path.name)
        key = match["key"] if match else ""
        try:
            if path.suffix != ".json":
                read_images(path, key)
                continue
            document = read(path)
            if document is not None and "verdicts" in document:
                outcome_of(document, path)
                if not document["key"].startswith(key):
                    raise damaged_as(path, "its key is another cell's")
        except BenchError as error:
            told.append(str(error))
    return told


def documents(root: Path) -> list[Path]:
    """Return the documents of a folder, and the files of images beside them."""
    return [path for path in below(root) if path.suffix in (".json", ".safetensors") and not path.name.startswith(".")]


def strays(root: Path) -> list[Path]:
    """Return temporary files and locks of runs that died, shards of finished cells, and cells that no run names.

    Cells of format 1 are kept, because runs of that format do not name the parts of a cell.
    """
    there = below(root)
    # Only now: a run says what it asks for before it writes a cell, so whatever was there is named by now.
    named = {key for document in _asked(root) for row in document["cells"] for key in _keys(row)}
    left = (path for path in there if path.name.startswith(".tmp-") or path.parent.name == "locks")
    # By age, because the process that wrote it may run on another machine.
    found = [path for path in left if _age(path) > _STALE]
    for path in there:
        match = _OF_A_CELL.match(path.name)
        inside = path.relative_to(root).parts[:-1]
        if not match or not path.is_file() or set(inside) & set(_OTHERS):
            continue
        if (match["key"] not in named and _is_new(path)) or _is_compacted(path):
            found.append(path)
    return found


def _age(path: Path) -> float:
    """Return the seconds since a file was changed; none of one that its run has removed meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _is_compacted(path: Path) -> bool:
    """Return whether a file is a shard of a finished cell: a crash came before it was removed, and nothing reads it."""
    whole, shard, _ = path.name.rpartition(".shard-")
    return bool(shard) and path.with_name(f"{whole}.json").is_file()


def _asked(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the request of every run, the oldest first."""
    for path in (root / "matrix.json", *sorted((root / "runs").glob("[!.]*.json"))):
        document = read(path)
        if document is not None:
            yield document


def _keys(row: Mapping[str, Any]) -> set[str]:
    """Return the keys that a row of a run names, cut to the length that file names have."""
    return {key[:16] for key in (row["key"], *row.get("parts", ()))}


def _is_new(path: Path) -> bool:
    """Return whether a file of a cell has a format in which runs name all their cells, parts included."""
    beside = path.with_suffix(".json")
    document = read(beside) if beside.is_file() else None
    return document is None or int(document["format"]) > 1
