"""The results folder: one JSON document per cell, written atomically, never overwritten.

    <root>/<dataset>/<threat>/<defense>/<attack>.<key>.json             a finished cell
    <root>/<dataset>/<threat>/<defense>/<attack>.<key>.shard-<i>.json   part of an unfinished one
    <root>/<dataset>/<threat>/<defense>/<attack>.<key>.failed.json      why a cell failed last time
    <root>/<dataset>/examples.<digest>.json                             which images a slice holds
    <root>/matrix.json                                                  which cells were asked for

Text files diff in review, merge from many machines by copying, and live on network file systems.
The same key with the same bytes is a no-op; the same key with other verdicts is nondeterminism.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.cell import Cell, Cost, Done, Failed, Outcome, Planned, Result, Skipped, Verdicts
from bench.datasets.examples import Examples
from bench.errors import BenchError

FORMAT = 1


class NondeterminismError(Exception):
    """A cell came out differently the second time; both answers are named, neither is overwritten."""


class Store:
    """The documents of one results folder. Only the driver of a run writes.

    Raises:
        BenchError: the folder is a file, cannot be read, or was written by a newer version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, tuple[str, ...]] = {}
        try:
            there = next(path for path in (root, *root.absolute().parents) if path.exists())
            if not there.is_dir():
                raise BenchError(
                    f"results folder {str(root)!r}: {there.name!r} is a file; pass a folder with --results"
                )
            if root.is_dir():
                next(root.iterdir(), None)
        except OSError as error:
            reason = f"results folder {str(root)!r} cannot be read ({error.strerror})"
            raise BenchError(f"{reason}: mend its permissions or pass --results") from error

    def require_writable(self) -> None:
        """Raise a BenchError unless documents can be written here; the folder is made where it is missing."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".tmp-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise BenchError(
                f"results folder {str(self.root)!r} cannot be written ({error.strerror}): "
                "mend its permissions or pass --results"
            ) from error

    def find(self, cell: Cell) -> Outcome | None:
        """What is stored of a cell; `None` where nothing is."""
        document = _read(self._path(cell))
        if document is not None:
            return _done(document, self._path(cell), cell.key)
        failed = _read(self._path(cell, "failed"))
        return None if failed is None else Failed(str(failed["error"]))

    def shards(self, cell: Cell) -> dict[int, Done]:
        """The finished shards of an unfinished cell, by number."""
        found = {}
        for index in range(len(cell.shards)):
            path = self._path(cell, f"shard-{index}")
            document = _read(path)
            if document is not None:
                found[index] = _done(document, path, cell.key)
        return found

    def add_shard(self, cell: Cell, index: int, done: Done) -> None:
        """Keep a finished shard."""
        _write_once(self._path(cell, f"shard-{index}"), _document(cell, done, {}))

    def finish(self, cell: Cell, shards: Sequence[Done], provenance: Mapping[str, Any]) -> Done:
        """Compact all shards of a cell, in order, into its one document."""
        verdicts = Verdicts(
            cell.draws,
            np.concatenate([shard.verdicts.clean for shard in shards]),
            np.concatenate([shard.verdicts.adversarial for shard in shards]),
        )
        done = Done(verdicts, sum((shard.cost for shard in shards), Cost()))
        _write_once(self._path(cell), _document(cell, done, provenance))
        for suffix in ("failed", *(f"shard-{index}" for index in range(len(cell.shards)))):
            self._path(cell, suffix).unlink(missing_ok=True)
        return done

    def fail(self, cell: Cell, error: str) -> None:
        """Remember why a cell failed, for the table; the next run tries it again."""
        _write(self._path(cell, "failed"), {"format": FORMAT, "key": cell.key, "cell": cell.to_json(), "error": error})

    def ask(self, plan: Sequence[Planned]) -> None:
        """Add the cells of a run to `matrix.json`, in place of older ones for the same table entry."""
        wanted = {_entry(planned.cell): planned for planned in [*self._asked(), *plan]}
        rows = [{"cell": planned.cell.to_json(), "skip": planned.skip} for planned in wanted.values()]
        _write(self.root / "matrix.json", {"format": FORMAT, "cells": rows})

    def remember(self, examples: Examples) -> None:
        """Keep which images a slice holds, so that two runs can be paired image by image."""
        path = self._examples(examples.dataset, examples.digest)
        document = {"format": FORMAT, "digest": examples.digest, "examples": list(examples.fingerprints)}
        if _read(path) != document:
            _write(path, document)

    def results(self) -> list[Result]:
        """Every cell that was asked for, with what is stored of it.

        Raises:
            BenchError: nothing was ever run with this folder.
        """
        plan = self._asked()
        if not plan:
            raise BenchError(f"no results in {str(self.root)!r}: fill it with 'bench run', or pass --results FOLDER")
        return [self.result(planned) for planned in plan]

    def result(self, planned: Planned) -> Result:
        if planned.skip is not None:
            return Result(planned.cell, Skipped(planned.skip))
        return Result(planned.cell, self.find(planned.cell))

    def _asked(self) -> list[Planned]:
        document = _read(self.root / "matrix.json")
        if document is None:
            return []
        try:
            plan = [Planned(Cell.from_json(row["cell"]), row["skip"]) for row in document["cells"]]
            return [replace(planned, cell=self._with_examples(planned.cell)) for planned in plan]
        except (KeyError, TypeError) as error:
            raise BenchError(f"{str(self.root / 'matrix.json')!r} is damaged: delete it and run again") from error

    def _with_examples(self, cell: Cell) -> Cell:
        if cell.slice.digest not in self._known:
            document = _read(self._examples(cell.slice.dataset, cell.slice.digest))
            self._known[cell.slice.digest] = tuple(document["examples"]) if document is not None else ()
        return replace(cell, slice=replace(cell.slice, examples=self._known[cell.slice.digest]))

    def _examples(self, dataset: str, digest: str) -> Path:
        return self.root / _slug(dataset) / f"examples.{digest[:16]}.json"

    def _path(self, cell: Cell, suffix: str = "") -> Path:
        folder = self.root / _slug(cell.slice.dataset) / cell.threat.slug / _slug(cell.defense.label)
        middle = f".{suffix}" if suffix else ""
        return folder / f"{_slug(cell.attack.label)}.{cell.key[:16]}{middle}.json"


def _entry(cell: Cell) -> tuple[object, ...]:
    """Which entry of which table a cell fills, whatever the code or the weights it is made with."""
    part = cell.slice
    return (part.dataset, part.split, part.n, cell.seed, cell.defense.label, cell.attack.label, str(cell.threat))


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "+", label).strip("+") or "unnamed"


def _document(cell: Cell, done: Done, provenance: Mapping[str, Any]) -> dict[str, Any]:
    counted = {
        "draws": done.verdicts.draws,
        "clean": _pack(done.verdicts.clean, done.verdicts.draws),
        "adversarial": _pack(done.verdicts.adversarial, done.verdicts.draws),
    }
    cost = {"forwards": done.cost.forwards, "backwards": done.cost.backwards}
    return {
        "format": FORMAT,
        "key": cell.key,
        "cell": cell.to_json(),
        "verdicts": counted,
        "cost": cost,
        "digest": _digest(cell.key, counted, cost),
        "provenance": dict(provenance),
    }


def _digest(key: str, verdicts: Mapping[str, Any], cost: Mapping[str, Any]) -> str:
    text = json.dumps([key, verdicts, cost], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(counts: np.ndarray[Any, Any], draws: int) -> str:
    """One character per example up to 9 draws, so that a change shows in a diff; two digits beyond."""
    return "".join(map(str, counts.tolist())) if draws <= 9 else counts.astype(np.uint8).tobytes().hex()


def _unpack(text: str, draws: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if draws <= 9:
        return np.array([int(character) for character in text], dtype=np.uint8)
    return np.array(list(bytes.fromhex(text)), dtype=np.uint8)


def _done(document: Mapping[str, Any], path: Path, key: str) -> Done:
    try:
        verdicts, cost = document["verdicts"], document["cost"]
        if document["key"] != key or document["digest"] != _digest(key, verdicts, cost):
            raise BenchError(f"{str(path)!r} is damaged (its digest does not match): delete it and run again")
        draws = verdicts["draws"]
        counts = Verdicts(draws, _unpack(verdicts["clean"], draws), _unpack(verdicts["adversarial"], draws))
        return Done(counts, Cost(cost["forwards"], cost["backwards"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(f"{str(path)!r} is damaged: delete it and run again") from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BenchError(f"cannot read {str(path)!r} ({error.strerror}): mend its permissions") from error
    except ValueError as error:
        raise BenchError(f"{str(path)!r} is damaged (not JSON): delete it and run again") from error
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise BenchError(f"{str(path)!r} is no document of atop-bench: move it out of the results folder")
    if document["format"] > FORMAT:
        raise BenchError(
            f"{str(path)!r} has format {document['format']}, this version reads {FORMAT}: upgrade atop-bench"
        )
    return document


def _write_once(path: Path, document: dict[str, Any]) -> None:
    stored = _read(path)
    if stored is None:
        _write(path, document)
    elif stored.get("digest") != document["digest"]:
        raise NondeterminismError(
            f"{document['cell']['defense']['label']} x {document['cell']['attack']['label']}: the verdicts differ from "
            f"those stored in {str(path)!r}"
        )


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Write whole or not at all: a temporary name, fsync, rename, fsync of the folder."""
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, text)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by `text` so that a reader, or a crash, sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
