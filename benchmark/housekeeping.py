"""A results folder as a whole: which runs filled it, whether it is whole, and what in it nobody asked for."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.documents import read, read_images
from bench.errors import BenchError

# A file of a cell: `<attack>.<key>.json`, its shards, what became of a failed one, its images.
_OF_A_CELL = re.compile(
    r"^(?!checks\.|examples\.|\.).+\.(?P<key>[0-9a-f]{16})(\.shard-\d+|\.failed)?\.(json|safetensors)$"
)
# Folders of documents that belong to no single cell.
_OTHERS = ("checks", "runs", "recognized", "preflight", "plans")
# A temporary file that is younger may be one that is being written.
_STALE = 3600.0


@dataclass(frozen=True)
class RunRecord:
    """What one run asked for.

    Attributes:
        when: in UTC, as ISO text; empty for what earlier versions kept in one file.
        cells, skipped: how many it named, and how many of these were skipped.
        defenses, attacks, threats: what they were made of, each once.
        code: digest of the harness that asked, shortened.
    """

    when: str
    cells: int
    skipped: int
    defenses: tuple[str, ...]
    attacks: tuple[str, ...]
    threats: tuple[str, ...]
    code: str


def runs(root: Path) -> list[RunRecord]:
    """The runs that filled a folder, the oldest first."""
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
    """What is wrong with the documents and images of a folder, a line each; none where all are as they were written."""
    told = []
    for path in documents(root):
        try:
            if path.suffix == ".json":
                read(path)
            else:
                match = _OF_A_CELL.match(path.name)
                read_images(path, match["key"] if match else "")
        except BenchError as error:
            told.append(str(error))
    return told


def documents(root: Path) -> list[Path]:
    """The documents of a folder, and the files of images beside them."""
    found = (*root.rglob("*.json"), *root.rglob("*.safetensors"))
    return sorted(path for path in found if not path.name.startswith("."))


def strays(root: Path) -> list[Path]:
    """Temporary files and locks of runs that died, and documents of cells that no run names.

    Cells of format 1 are kept: what was a part of another cell is not named there.
    """
    named = {key for document in _asked(root) for row in document["cells"] for key in _keys(row)}
    left = (*root.rglob(".tmp-*"), *root.rglob("locks/*"))
    found = [path for path in left if time.time() - path.stat().st_mtime > _STALE]
    for path in sorted(root.rglob("*")):
        match = _OF_A_CELL.match(path.name)
        inside = path.relative_to(root).parts[:-1]
        if match and path.is_file() and not set(inside) & set(_OTHERS) and match["key"] not in named and _is_new(path):
            found.append(path)
    return found


def _asked(root: Path) -> Iterator[dict[str, Any]]:
    """What every run asked for, the oldest first."""
    for path in (root / "matrix.json", *sorted((root / "runs").glob("*.json"))):
        document = read(path)
        if document is not None:
            yield document


def _keys(row: Mapping[str, Any]) -> set[str]:
    """The keys that a row of a run names, as far as they stand in names of files."""
    return {key[:16] for key in (row["key"], *row.get("parts", ()))}


def _is_new(path: Path) -> bool:
    """Whether a file of a cell was written in a format in which runs name all that they ask for."""
    beside = path.with_suffix(".json")
    document = read(beside) if beside.is_file() else None
    return document is None or int(document["format"]) > 1
