"""What a results folder holds, file by file, each read and verified: for merging, which copies nothing unseen."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from bench.errors import BenchError
from bench.results.cell import Cell
from bench.results.documents import read, read_images, to_done, to_findings
from bench.results.finding import worst
from bench.results.outcome import Done

Kind = Literal[
    "cell", "shard", "failed", "images", "findings", "examples", "answers", "formats", "archive", "run", "matrix"
]
# A file of a cell: `<attack>.<key>.json`, its shards, the error of a failed one, its images.
_OF_A_CELL = re.compile(
    r"(?P<stem>.+\.(?P<key>[0-9a-f]{16}))(?:\.shard-(?P<shard>\d+)|(?P<failed>\.failed))?(?P<ending>\.json|\.safetensors)"
)
_ARCHIVE = re.compile(r".+\.(?P<key>[0-9a-f]{16})\.safetensors")
# Of stores within a store, for cells that no table shows.
ASIDE = "checks"
_FOLDERS: Mapping[str, Kind] = {"runs": "run", "recognized": "answers", "archives": "archive"}
_BELOW_DATASET: Mapping[str, Kind] = {"preflight": "findings", "plans": "formats"}


@dataclass(frozen=True)
class File:
    """One verified file of one folder.

    Attributes:
        root: the folder.
        place: the path below it.
        content: the SHA-256 of its bytes.
        same: a digest of what two copies of it must have in common: the verdicts of a cell, the images of a slice.
        stem: of the files of a cell, what their places have in common.
        shard: the number of a shard; -1 for every other file.
        severity: of findings, the gravest verdict.
    """

    root: Path
    place: PurePosixPath
    kind: Kind
    content: str
    same: str = ""
    stem: str = ""
    shard: int = -1
    severity: str = ""

    @property
    def path(self) -> Path:
        return self.root / self.place

    def bytes(self) -> bytes:
        """Return its bytes; raise a BenchError if they are no longer those that were verified."""
        content = self.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.content:
            raise BenchError(f"{str(self.path)!r} was changed while it was merged: merge again when no run is going on")
        return content

    def outcome(self) -> tuple[Cell, Done, Mapping[str, Any]]:
        """Return the cell, the outcome and the provenance in a document of a cell or of a shard."""
        return outcome_of(_document(self.path), self.path)


def inventory(root: Path) -> tuple[list[File], list[str]]:
    """Read and verify every file of a results folder; return them by place, and the files that are none of ours.

    Locks and temporary files are left out.

    Raises:
        BenchError: a document or a file of images is damaged, foreign, newer than this version, in a place where no
            document belongs, or reached by a symbolic link.
    """
    found: list[File] = []
    others: list[str] = []
    for path in _walk(root):
        place = PurePosixPath(path.relative_to(root).as_posix())
        if path.suffix in (".json", ".safetensors"):
            found.append(_verified(root, place, path))
        else:
            others.append(str(place))
    return sorted(found, key=lambda file: file.place), sorted(others)


def outcome_of(document: Mapping[str, Any], path: Path) -> tuple[Cell, Done, Mapping[str, Any]]:
    """Return what a document of a cell or of a shard holds; raise a BenchError where it is not whole."""
    try:
        key = str(document["key"])
        cell = Cell.from_json(document["cell"], key)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"{str(path)!r} names no cell: move it out of the results folder") from error
    return cell, to_done(document, path, key), document.get("provenance", {})


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; follow no link."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "locks":
                continue
            if entry.is_symlink():
                raise BenchError(f"{entry.path!r} is a symbolic link, which is not followed: put the file in its place")
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
            else:
                raise BenchError(f"{entry.path!r} is a pipe or a device: move it out of the results folder")
    except OSError as error:
        raise BenchError(f"{str(error.filename)!r} cannot be read ({error.strerror}): mend its permissions") from error


def _verified(root: Path, place: PurePosixPath, path: Path) -> File:
    kind, match = _kind(place, path)
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BenchError(f"cannot read {str(path)!r} ({error.strerror}): mend its permissions") from error
    file = {"root": root, "place": place, "kind": kind, "content": content}
    if path.suffix == ".safetensors":
        read_images(path, match["key"] if match else "")
        return File(**file, same=match["key"] if match else "", stem=_stem(place, match))  # type: ignore[arg-type]
    document = _document(path)
    if kind in ("cell", "shard"):
        return _of_a_cell(file, document, path, match)
    same, severity, stem = "", "", ""
    if kind == "findings":
        found = to_findings(path)
        severity = worst(() if found is None else found[1])
    elif kind == "failed":
        _require_key(document, path, match)
        stem = _stem(place, match)
    else:
        same = _digest(document, _COMMON.get(kind, tuple(document)))
    return File(**file, same=same, severity=severity, stem=stem)  # type: ignore[arg-type]


# What two copies must have in common, where it is not everything.
_COMMON: Mapping[str, tuple[str, ...]] = {
    "examples": ("slice", "examples"),
    "answers": ("bytes", "mark", "answers"),
    "formats": ("key",),
    "matrix": ("cells",),
    "run": ("cells", "when"),
}


def _of_a_cell(file: Mapping[str, Any], document: Mapping[str, Any], path: Path, match: re.Match[str] | None) -> File:
    _require_key(document, path, match)
    outcome_of(document, path)  # which looks at all of it
    shard = -1 if match is None or match["shard"] is None else int(match["shard"])
    same = _digest(document, ("key", "verdicts", "cost"))
    return File(**file, same=same, stem=_stem(file["place"], match), shard=shard)


def _kind(place: PurePosixPath, path: Path) -> tuple[Kind, re.Match[str] | None]:
    """Return what a file in this place is, and its name taken apart; raise a BenchError where no file belongs."""
    parts = place.parts[1:] if place.parts[0] == ASIDE else place.parts
    if parts == ("matrix.json",):
        return "matrix", None
    json_ = place.suffix == ".json"
    if len(parts) == 2 and parts[0] in _FOLDERS and json_ != (parts[0] == "archives"):
        match = _ARCHIVE.fullmatch(place.name)
        if parts[0] != "archives" or match:
            return _FOLDERS[parts[0]], match
    if len(parts) == 2 and parts[1].startswith("examples.") and json_:
        return "examples", None
    if len(parts) == 3 and parts[1] in _BELOW_DATASET and json_:
        return _BELOW_DATASET[parts[1]], None
    if len(parts) == 4 and parts[3].startswith("checks.") and json_:
        return "findings", None
    match = _OF_A_CELL.fullmatch(place.name)
    if len(parts) != 4 or match is None or (not json_ and (match["shard"] or match["failed"])):
        raise BenchError(f"{str(path)!r} lies where a results folder has no such file: move it out of the folder")
    if not json_:
        return "images", match
    return ("shard" if match["shard"] else "failed" if match["failed"] else "cell"), match


def _stem(place: PurePosixPath, match: re.Match[str] | None) -> str:
    return str(place.parent / match["stem"]) if match and "stem" in match.groupdict() else ""


def _require_key(document: Mapping[str, Any], path: Path, match: re.Match[str] | None) -> None:
    """Raise a BenchError unless a document is of the cell that its name says."""
    if match is not None and not str(document.get("key", match["key"])).startswith(match["key"]):
        raise BenchError(f"{str(path)!r} is damaged (its key is another cell's): restore it, or move it away")


def _document(path: Path) -> Mapping[str, Any]:
    document = read(path)
    if document is None:
        raise BenchError(f"{str(path)!r} was removed while it was merged: merge again when no run is going on")
    return document


def _digest(document: Mapping[str, Any], parts: tuple[str, ...]) -> str:
    held = {name: document.get(name) for name in parts}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
