"""The results folder: one JSON document per cell, written atomically, never overwritten.

    <root>/<dataset>/<threat>/<defense>/<attack>.<key>.json             a finished cell
    <root>/<dataset>/<threat>/<defense>/<attack>.<key>.shard-<i>.json   part of an unfinished one
    <root>/<dataset>/<threat>/<defense>/<attack>.<key>.failed.json      why a cell failed last time
    <root>/<dataset>/<threat>/<defense>/<attack>.<key>.safetensors      the first images it was judged on
    <root>/<dataset>/<threat>/<defense>/checks.<key>.json               findings after the attacks (A01-A14)
    <root>/<dataset>/preflight/<defense>.<key>.json                     findings before any attack (S01-S17)
    <root>/<dataset>/plans/<defense>.<key>.json                         the format it is attacked in here
    <root>/recognized/<label>.<digest>.<mark>.json                      what a user's defense or attack answered
    <root>/<dataset>/examples.<digest>.json                             which images a slice holds
    <root>/runs/<time>-<digest>.json                                    which cells a run asked for
    <root>/locks/<key>                                                  somebody is computing this cell
    <root>/matrix.json                                                  the same, as earlier versions kept it

Text files diff in review, merge from many machines by copying, and live on network file systems. Nothing is
rewritten that another run may have written: what was asked is the union over all runs, the latest first in doubt.
The same key with the same bytes is a no-op; the same key with other verdicts is nondeterminism.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import versions
from bench.cell import Cell, DefenseRef, Planned, Result, Slice
from bench.checks.finding import Finding
from bench.datasets.examples import Examples
from bench.documents import (
    FORMAT,
    of_cell,
    of_findings,
    read,
    read_images,
    to_done,
    to_findings,
    write,
    write_images,
    write_once,
)
from bench.errors import BenchError
from bench.fingerprint import of_text
from bench.formats import Plan
from bench.outcome import Done, Failed, Outcome, Skipped, joined


class Store:
    """The documents of one results folder. Only the driver of a run writes.

    Raises:
        BenchError: the folder is a file, cannot be read, or was written by a newer version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, tuple[str, ...]] = {}
        self._finished: dict[Path, tuple[Done, Mapping[str, Any]]] = {}
        self._aside: Store | None = None
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

    def aside(self) -> Store:
        """A store within this one, for the cells that no table shows."""
        if self._aside is None:
            self._aside = Store(self.root / "checks")
        return self._aside

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
        return self._stored(cell)[0]

    def _stored(self, cell: Cell) -> tuple[Outcome | None, Mapping[str, Any]]:
        """What is stored of a cell, and how it was made; what is finished is final, so it is read once."""
        path = self._path(cell)
        if path not in self._finished:
            document = read(path)
            if document is not None:
                self._finished[path] = to_done(document, path, cell.key), document.get("provenance", {})
        if path in self._finished:
            return self._finished[path]
        failed = read(self._path(cell, "failed"))
        return (None if failed is None else Failed(str(failed["error"]))), {}

    def shards(self, cell: Cell) -> dict[int, Done]:
        """The finished shards of an unfinished cell, by number."""
        found = {}
        for index in range(len(cell.shards)):
            path = self._path(cell, f"shard-{index}")
            document = read(path)
            if document is not None:
                found[index] = to_done(document, path, cell.key)
        return found

    def add_shard(self, cell: Cell, index: int, done: Done) -> None:
        """Keep a finished shard."""
        write_once(self._path(cell, f"shard-{index}"), of_cell(cell, done, {}))

    def drop_shard(self, cell: Cell, index: int) -> None:
        """Forget a finished shard that is to be computed anew."""
        self._path(cell, f"shard-{index}").unlink(missing_ok=True)

    def finish(self, cell: Cell, shards: Sequence[Done], provenance: Mapping[str, Any]) -> Done:
        """Compact all shards of a cell, in order, into its one document."""
        done = joined(shards)
        write_once(self._path(cell), of_cell(cell, done, provenance))
        for suffix in ("failed", *(f"shard-{index}" for index in range(len(cell.shards)))):
            self._path(cell, suffix).unlink(missing_ok=True)
        return done

    def keep_images(self, cell: Cell, x_adv: NDArray[np.float32]) -> None:
        """Keep adversarial images of a cell, float32 `[k, C, H, W]`, the first of its slice."""
        write_images(self._path(cell).with_suffix(".safetensors"), cell.key, x_adv)

    def images(self, cell: Cell) -> NDArray[np.float32] | None:
        """The adversarial images kept of a cell; `None` where there are none."""
        return read_images(self._path(cell).with_suffix(".safetensors"), cell.key)

    def lock(self, cell: Cell) -> Path:
        """The file that a run locks while it computes a cell (`bench.claims`)."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / cell.key[:32]

    def seconds(self, cell: Cell) -> float:
        """How long a finished cell took to compute; 0 where that is not known."""
        return float(self._stored(cell)[1].get("seconds", 0.0))

    def keep_preflight(self, defense: DefenseRef, part: Slice, findings: Sequence[Finding], key: str) -> None:
        """Keep what the checks before any attack found; `key` says what they depended on."""
        write(self._preflight(defense, part), of_findings(findings, key))

    def preflight(self, defense: DefenseRef, part: Slice, key: str = "") -> tuple[Finding, ...] | None:
        """What the checks before any attack found, made with `key` where one is given."""
        return to_findings(self._preflight(defense, part), key)

    def keep_checks(self, cell: Cell, findings: Sequence[Finding], key: str) -> None:
        """Keep what the checks after the attacks found about a defense under a threat model."""
        write(self._checks(cell), of_findings(findings, key))

    def checks(self, cell: Cell, key: str = "") -> tuple[Finding, ...] | None:
        """What the checks after the attacks found about the defense and threat model of a cell."""
        return to_findings(self._checks(cell), key)

    def keep_plan(self, defense: DefenseRef, part: Slice, plan: Plan, key: str) -> None:
        """Keep how the queries of a defense are run here; `key` says what was asked for."""
        write(self._plan(defense, part, key), {"format": FORMAT, "key": key, "plan": plan.to_json()})

    def plan(self, defense: DefenseRef, part: Slice, key: str) -> Plan | None:
        """How the queries of a defense are run, planned with `key`; `None` where nothing is stored."""
        path = self._plan(defense, part, key)
        document = read(path)
        try:
            return None if document is None else Plan.from_json(document["plan"])
        except (KeyError, TypeError, BenchError) as error:
            raise BenchError(f"{str(path)!r} is damaged: move it away and run again") from error

    def answers(self, label: str, digest: str) -> dict[str, str]:
        """What a user's defense or attack with these bytes was seen to answer, by mark (`bench.recognition`)."""
        found = {}
        for path in sorted((self.root / "recognized").glob(f"{_slug(label)}.{digest[:16]}.*.json")):
            document = read(path)
            if document is not None and document.get("bytes") == digest:
                found[str(document["mark"])] = str(document["answers"])
        return found

    def keep_answers(self, label: str, digest: str, mark: str, answers: str) -> None:
        """Remember what it answers; `mark` stands for that in keys."""
        path = self.root / "recognized" / f"{_slug(label)}.{digest[:16]}.{mark}.json"
        write(path, {"format": FORMAT, "bytes": digest, "mark": mark, "answers": answers})

    def fail(self, cell: Cell, error: str) -> None:
        """Remember why a cell failed, for the table; the next run tries it again."""
        write(self._path(cell, "failed"), {"format": FORMAT, "key": cell.key, "cell": cell.to_json(), "error": error})

    def ask(self, plan: Sequence[Planned]) -> None:
        """Remember the cells of a run, which then stand in place of older ones for the same table entry.

        A file of its own for each run: of several that are started together none takes away what another asked.
        """
        known = {_entry(planned.cell): (planned.cell.key, planned.skip) for planned in self._asked()}
        if all(known.get(_entry(planned.cell)) == (planned.cell.key, planned.skip) for planned in plan):
            return
        rows = [
            {
                "key": planned.cell.key,
                "cell": planned.cell.to_json(),
                "skip": planned.skip,
                **({"parts": [part.key for part in planned.parts]} if planned.parts else {}),
            }
            for planned in plan
        ]
        now = datetime.now(timezone.utc)
        name = f"{now:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}-{_digest_of(rows)[:8]}.json"
        told = {"format": FORMAT, "when": now.isoformat(), "code": versions.code_of_harness(), "cells": rows}
        write(self.root / "runs" / name, told)

    def remember(self, examples: Examples) -> None:
        """Keep which images a slice holds, so that two runs can be paired image by image."""
        path = self._examples(examples.dataset, examples.digest)
        document = {"format": FORMAT, "slice": examples.digest, "examples": list(examples.fingerprints)}
        stored = read(path)
        if stored is None or stored["examples"] != document["examples"]:
            write(path, document)

    def results(self) -> list[Result]:
        """Every cell that was asked for, with what is stored of it.

        Raises:
            BenchError: nothing was ever run with this folder.
        """
        plan = self._asked()
        if not plan:
            raise BenchError(f"no results in {str(self.root)!r}: fill it with 'bench run', or pass --results FOLDER")
        names = self._first_marks()
        return [_under_one_name(self.result(planned), names) for planned in plan]

    def _first_marks(self) -> Mapping[str, str]:
        """Of marks that stand for the same answers of the same bytes the first one, for each that is not it."""
        stored: dict[str, dict[str, str]] = {}
        for path in sorted((self.root / "recognized").glob("*.json")):
            document = read(path)
            if document is not None:
                stored.setdefault(str(document["bytes"]), {})[str(document["mark"])] = str(document["answers"])
        several = [marks for marks in stored.values() if len(marks) > 1]
        if not several:
            return {}
        from bench.behaviour import alike

        return {mark: first for marks in several for mark, first in alike(marks).items() if mark != first}

    def result(self, planned: Planned) -> Result:
        cell = planned.cell
        outcome, made = self._stored(cell) if planned.skip is None else (Skipped(planned.skip), {})
        before, after = self.preflight(cell.defense, cell.slice) or (), self.checks(cell) or ()
        return Result(cell, outcome, (*before, *after), made.get("code", {}))

    def _asked(self) -> list[Planned]:
        wanted: dict[tuple[object, ...], Planned] = {}
        for path in (self.root / "matrix.json", *sorted((self.root / "runs").glob("*.json"))):
            document = read(path)
            try:
                plan = [] if document is None else [_planned(row) for row in document["cells"]]
            except (KeyError, TypeError) as error:
                raise BenchError(f"{str(path)!r} is damaged: its run is to be typed again without it") from error
            wanted |= {_entry(planned.cell): planned for planned in plan}
        return [replace(planned, cell=self._with_examples(planned.cell)) for planned in wanted.values()]

    def _with_examples(self, cell: Cell) -> Cell:
        if cell.slice.digest not in self._known:
            document = read(self._examples(cell.slice.dataset, cell.slice.digest))
            self._known[cell.slice.digest] = tuple(document["examples"]) if document is not None else ()
        return replace(cell, slice=replace(cell.slice, examples=self._known[cell.slice.digest]))

    def _examples(self, dataset: str, digest: str) -> Path:
        return self.root / _slug(dataset) / f"examples.{digest[:16]}.json"

    def _preflight(self, defense: DefenseRef, part: Slice) -> Path:
        name = f"{_slug(defense.label)}.{_digest_of(defense.digest, part.digest)}.json"
        return self.root / _slug(part.dataset) / "preflight" / name

    def _plan(self, defense: DefenseRef, part: Slice, key: str) -> Path:
        return self.root / _slug(part.dataset) / "plans" / f"{_slug(defense.label)}.{key[:16]}.json"

    def _checks(self, cell: Cell) -> Path:
        name = f"checks.{_digest_of(cell.defense.digest, cell.slice.digest, cell.seed, cell.draws)}.json"
        return self._path(cell).with_name(name)

    def _path(self, cell: Cell, suffix: str = "") -> Path:
        folder = self.root / _slug(cell.slice.dataset) / cell.threat.slug / _slug(cell.defense.label)
        middle = f".{suffix}" if suffix else ""
        return folder / f"{_slug(cell.attack.label)}.{cell.key[:16]}{middle}.json"


def _under_one_name(result: Result, first: Mapping[str, str]) -> Result:
    """A result whose defense has the digest it has where it was met first; its key stays its own."""
    bytes_, *marks = result.cell.defense.brought or ("",)
    if not set(marks) & set(first):
        return result
    cell, key = result.cell, result.cell.key
    digest = of_text(bytes_, *(first.get(mark, mark) for mark in marks))
    cell = replace(cell, defense=replace(cell.defense, digest=digest), stored_as=("", ""))
    return replace(result, cell=replace(cell, stored_as=(key, cell.key)))


def _planned(row: Mapping[str, Any]) -> Planned:
    return Planned(Cell.from_json(row["cell"], row["key"]), row["skip"])


def _entry(cell: Cell) -> tuple[object, ...]:
    """Which entry of which table a cell fills, whatever the code or the weights it is made with."""
    part = cell.slice
    return (part.dataset, part.split, part.n, cell.seed, cell.defense.label, cell.attack.label, str(cell.threat))


def _digest_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "+", label).strip("+") or "unnamed"
