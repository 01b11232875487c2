"""A results folder: one JSON document per cell, written atomically, never overwritten (`bench.results.places`).

Text files diff in review, merge from many machines by copying, and live on network file systems. No run rewrites
a file that another run may have written: the requested cells are the union over all runs, and the latest run wins.
The same key with the same bytes is a no-op; the same key with other verdicts is nondeterminism.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from bench.catalogue import versions
from bench.catalogue.identity import of_text
from bench.catalogue.refs import DefenseRef
from bench.datasets.examples import Examples
from bench.errors import BenchError
from bench.machine.system import keep_names, make_folder, require_no_links
from bench.results.cell import Cell, Planned, Result, Slice
from bench.results.documents import (
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
from bench.results.finding import Finding
from bench.results.outcome import Done, Failed, Kept, Outcome, Skipped, answers_alarm, joined
from bench.results.places import Places, digest_of, slug
from bench.results.provenance import code_of
from bench.results.remembered import TICK, Remembered, cell_names
from bench.results.shapes import require_counts

Of = TypeVar("Of")


class Store:
    """The store of one results folder. Only the driver of a run writes.

    Raises:
        BenchError: the folder is a file, cannot be read, or was written by a newer version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._places = Places(root)
        self._known: dict[str, tuple[str, ...]] = {}
        self._parts: dict[str, tuple[str, ...]] = {}
        self._finished: dict[Path, tuple[Done, Mapping[str, Any]]] = {}
        # The findings about a defense stand beside each of its cells, and a cell may be part of several others.
        self._findings = Remembered(to_findings)
        self._provenance = Remembered(_provenance)
        self._names = Remembered(cell_names, TICK)
        # Folders with shards whose names a crash of the system may still lose.
        self._unnamed: set[Path] = set()
        self._aside: Store | None = None
        try:
            # Also the folders above: a file among them would fail only at the first write, after minutes of work.
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
        """Return a store within this one, for cells that no table shows."""
        if self._aside is None:
            self._aside = Store(self.root / "checks")
        return self._aside

    def require_writable(self) -> None:
        """Raise a BenchError unless documents can be written here; create a missing folder."""
        try:
            make_folder(self.root)
            require_no_links(self.root)
            probe = self.root / f".tmp-{os.urandom(4).hex()}"
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):  # no mistake in the request
                raise
            raise BenchError(
                f"results folder {str(self.root)!r} cannot be written ({error.strerror}): "
                "mend its permissions or pass --results"
            ) from error

    def find(self, cell: Cell) -> Outcome | None:
        """Return the stored outcome of a cell; `None` if there is none."""
        return self._stored(cell)[0]

    def _stored(self, cell: Cell) -> tuple[Outcome | None, Mapping[str, Any]]:
        """Return the stored outcome of a cell and its provenance; a finished cell is final, so it is read once."""
        path = self._places.cell(cell)
        if path not in self._finished:
            document = read(path)
            if document is not None:
                done = to_done(document, path, cell.key)
                require_counts(done.verdicts, cell.slice.n, cell.draws, path)
                self._finished[path] = done, document.get("provenance", {})
        if path in self._finished:
            return self._finished[path]
        # Read last: a crash may leave the error of an earlier run beside a finished cell.
        failed = read(self._places.cell(cell, "failed"))
        return (None if failed is None else Failed(str(failed["error"]))), {}

    def shards(self, cell: Cell) -> dict[int, Done]:
        """Return the finished shards of an unfinished cell, by number."""
        return {index: done for index, (done, _) in self.made_shards(cell).items()}

    def made_shards(self, cell: Cell) -> dict[int, tuple[Done, Mapping[str, Any]]]:
        """Return the finished shards of an unfinished cell, each with its provenance; older versions stored none."""
        found = {}
        whole = self._places.cell(cell)
        # Listed, not tried one by one: a run asks for all of every cell, and mostly none is there.
        for index in self._names(whole.parent).shards.get(whole.stem, ()):
            path = self._places.cell(cell, f"shard-{index}")
            document = read(path) if index < len(cell.shards) else None
            if document is not None:
                start, stop = cell.shards[index]
                done = to_done(document, path, cell.key)
                require_counts(done.verdicts, stop - start, cell.draws, path)
                found[index] = done, document.get("provenance", {})
        return found

    def add_shard(self, cell: Cell, index: int, done: Done, provenance: Mapping[str, Any]) -> None:
        """Keep a finished shard; after an alarm, in the place of the one before it (`bench.harness.alarm`)."""
        if self._places.cell(cell).is_file():  # another run has finished the cell meanwhile, and nothing would read it
            return
        # Nobody is told of a shard: should the system crash and lose its name, it is computed again.
        path = self._places.cell(cell, f"shard-{index}")
        document = of_cell(cell, done, provenance)
        # Another run may be at the same shard: a share, which knows of no alarm, or one that was killed in the middle.
        stored = read(path) if cell.attack.reserve else None
        there = None if stored is None else to_done(stored, path, cell.key)
        if there is not None and answers_alarm(there, done):
            return
        if there is not None and answers_alarm(done, there):
            write(path, document, lasting=False)
        else:
            write_once(path, document, lasting=False)
        self._unnamed.add(path.parent)

    def keep_shards(self) -> None:
        """Bring the names of the shards written so far to the disk, before somebody is told that they are there."""
        while self._unnamed:
            keep_names(self._unnamed.pop())

    def drop_shard(self, cell: Cell, index: int) -> None:
        """Forget a finished shard that is to be computed anew."""
        self._places.cell(cell, f"shard-{index}").unlink(missing_ok=True)

    def finish(self, cell: Cell, shards: Sequence[Done], provenance: Mapping[str, Any]) -> Done:
        """Compact all shards of a cell, in order, into its one document."""
        done = joined(shards)
        # First the whole, then its shards go: a crash in between loses nothing.
        write_once(self._places.cell(cell), of_cell(cell, done, provenance))
        for suffix in ("failed", *(f"shard-{index}" for index in range(len(cell.shards)))):
            self._places.cell(cell, suffix).unlink(missing_ok=True)
        return done

    def keep_images(self, cell: Cell, kept: Kept) -> None:
        """Keep adversarial images of a cell, the first of its slice, before the shard that they belong to."""
        # Where that is the whole cell, its document follows at once and brings all names in the folder to the disk.
        lasting = len(cell.shards) > 1
        write_images(self._places.cell(cell).with_suffix(".safetensors"), cell.key, kept, lasting=lasting)

    def images(self, cell: Cell) -> Kept | None:
        """Return the stored adversarial images of a cell; `None` if there are none."""
        return read_images(self._places.cell(cell).with_suffix(".safetensors"), cell.key)

    def lock(self, cell: Cell) -> Path:
        """Return the file that a run locks while it computes a cell (`bench.harness.reservations`)."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / cell.key[:32]

    def seconds(self, cell: Cell) -> float:
        """Return the seconds that a finished cell took to compute; 0 if not known."""
        return self._took(cell) or 0.0

    def _took(self, cell: Cell) -> float | None:
        """Return the seconds of a finished cell, or of the parts it was derived from; `None` if not known."""
        outcome, made = self._stored(cell)
        if not isinstance(outcome, Done):
            return None
        seconds, parts = made.get("seconds"), self._parts.get(cell.key, ())
        if seconds or not parts:
            return None if seconds is None else float(seconds)
        # Parts need not be columns of a run; beside it they are known by their keys.
        folder = self._places.cell(cell).parent
        names = self._names(folder).documents
        found = [folder / names[key[:16]] for key in parts if key[:16] in names]
        took = [self._provenance(path).get("seconds") for path in found]
        known = [float(each) for each in took if each is not None]
        # A part that cannot be run on this defense has no document, and cost nothing; so a single one is enough.
        return sum(known) if known else None

    def provenance(self, cell: Cell) -> Mapping[str, Any]:
        """Return who made a finished cell: versions, machine, seconds and digests of code; empty if not known."""
        return self._stored(cell)[1]

    def keep_preflight(self, defense: DefenseRef, part: Slice, findings: Sequence[Finding], key: str) -> None:
        """Keep the findings of the checks before any attack; `key` is a digest of everything they depended on."""
        write(self._places.preflight(defense, part), of_findings(findings, key))

    def preflight(self, defense: DefenseRef, part: Slice, key: str = "") -> tuple[Finding, ...] | None:
        """Return the findings of the checks before any attack; if a `key` is given, only those made with it."""
        return self._found(self._places.preflight(defense, part), key)

    def keep_checks(self, cell: Cell, findings: Sequence[Finding], key: str) -> None:
        """Keep the findings of the checks after the attacks about a defense under a threat model."""
        write(self._places.checks(cell), of_findings(findings, key))

    def checks(self, cell: Cell, key: str = "") -> tuple[Finding, ...] | None:
        """Return the findings of the checks after the attacks about the defense and threat model of a cell."""
        return self._found(self._places.checks(cell), key)

    def _found(self, path: Path, key: str) -> tuple[Finding, ...] | None:
        found = self._findings(path)
        return None if found is None or (key and found[0] != key) else found[1]

    def keep_search_formats(self, defense: DefenseRef, part: Slice, plan: Mapping[str, Any], key: str) -> None:
        """Keep the search formats of a defense's queries, as plain data, under a `key` of what was requested."""
        write(self._places.formats(defense, part, key), {"format": FORMAT, "key": key, "plan": dict(plan)})

    def search_formats(
        self, defense: DefenseRef, part: Slice, key: str, parse: Callable[[Mapping[str, Any]], Of]
    ) -> Of | None:
        """Return the search formats of a defense's queries that were stored with `key`; `None` if there are none.

        Args:
            defense: whose queries.
            part: on which images.
            key: of what was requested.
            parse: converts the plain data to the caller's type.
        """
        path = self._places.formats(defense, part, key)
        document = read(path)
        try:
            return None if document is None else parse(document["plan"])
        except (KeyError, TypeError, BenchError) as error:
            raise BenchError(f"{str(path)!r} is damaged: move it away and run again") from error

    def answers(self, label: str, digest: str) -> dict[str, str]:
        """Return the stored answers of a user's defense or attack with these bytes, by mark."""
        found = {}
        for path in sorted((self.root / "recognized").glob(f"{slug(label)}.{digest[:16]}.*.json")):
            document = read(path)
            # The name of the file holds only a part of the digest.
            if document is not None and document.get("bytes") == digest:
                found[str(document["mark"])] = str(document["answers"])
        return found

    def keep_answers(self, label: str, digest: str, mark: str, answers: str) -> None:
        """Keep the answers of a user's defense or attack; `mark` stands for them in keys."""
        path = self.root / "recognized" / f"{slug(label)}.{digest[:16]}.{mark}.json"
        write(path, {"format": FORMAT, "bytes": digest, "mark": mark, "answers": answers})

    def fail(self, cell: Cell, error: str) -> None:
        """Keep the error of a failed cell, for the table; the next run tries the cell again."""
        write(
            self._places.cell(cell, "failed"),
            {"format": FORMAT, "key": cell.key, "cell": cell.to_json(), "error": error},
        )

    def ask(self, plan: Sequence[Planned]) -> None:
        """Record the cells that a run requests; they replace older cells for the same table entry.

        Each run has its own file, so runs that start together cannot overwrite each other's requests.
        """
        known = {_entry(planned.cell): (planned.cell.key, planned.skip) for planned in self._asked()}
        # A run that repeats an earlier one adds no file.
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
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}-{digest_of(rows)[:8]}.json"
        told = {"format": FORMAT, "when": now.isoformat(), "code": versions.code_of_harness(), "cells": rows}
        write(self.root / "runs" / name, told)

    def remember(self, examples: Examples) -> None:
        """Record the images of a slice, so that two runs can be paired image by image."""
        path = self._places.examples(examples.dataset, examples.digest)
        document = {"format": FORMAT, "slice": examples.digest, "examples": list(examples.fingerprints)}
        stored = read(path)
        if stored is None or stored["examples"] != document["examples"]:
            write(path, document)

    def planned(self) -> list[Planned]:
        """Return every requested cell, without outcomes; empty for a folder that nothing was run with."""
        return self._asked()

    def results(self, runs: int | None = None) -> list[Result]:
        """Return every requested cell with its stored outcome.

        Args:
            runs: only what the first so many runs requested; by default all of them.

        Raises:
            BenchError: nothing was ever run with this folder.
        """
        plan = self._asked(runs)
        if not plan:
            raise BenchError(f"no results in {str(self.root)!r}: fill it with 'bench run', or pass --results FOLDER")
        # A folder merged from two machines may know one defense by two sets of answers: it gets one name.
        names = self._first_marks()
        return [_under_one_name(self.result(planned), names) for planned in plan]

    def _first_marks(self) -> Mapping[str, str]:
        """Return, for each mark, the first mark that has the same answers of the same bytes, if it is another one."""
        stored: dict[str, dict[str, str]] = {}
        for path in sorted((self.root / "recognized").glob("[!.]*.json")):
            document = read(path)
            if document is not None:
                stored.setdefault(str(document["bytes"]), {})[str(document["mark"])] = str(document["answers"])
        several = [marks for marks in stored.values() if len(marks) > 1]
        if not several:
            return {}
        # Imported only here: it brings torch, and most folders have one mark for each.
        from bench.catalogue.behaviour import alike

        return {mark: first for marks in several for mark, first in alike(marks).items() if mark != first}

    def result(self, planned: Planned) -> Result:
        cell = planned.cell
        outcome, made = self._stored(cell) if planned.skip is None else (Skipped(planned.skip), {})
        before, after = self.preflight(cell.defense, cell.slice) or (), self.checks(cell) or ()
        return Result(cell, outcome, (*before, *after), code_of(made), self._took(cell))

    def _asked(self, runs: int | None = None) -> list[Planned]:
        wanted: dict[tuple[object, ...], Planned] = {}
        paths = (self.root / "matrix.json", *sorted((self.root / "runs").glob("[!.]*.json")))
        for path in [path for path in paths if path.is_file()][:runs]:
            document = read(path)
            try:
                rows = [] if document is None else document["cells"]
                plan = [_planned(row) for row in rows]
                self._parts |= {row["key"]: tuple(row["parts"]) for row in rows if row.get("parts")}
            except (KeyError, TypeError) as error:
                raise BenchError(f"{str(path)!r} is damaged: its run is to be typed again without it") from error
            # The documents come oldest first, so the latest request for an entry wins.
            wanted |= {_entry(planned.cell): planned for planned in plan}
        return [replace(planned, cell=self._with_examples(planned.cell)) for planned in wanted.values()]

    def _with_examples(self, cell: Cell) -> Cell:
        if cell.slice.digest not in self._known:
            document = read(self._places.examples(cell.slice.dataset, cell.slice.digest))
            self._known[cell.slice.digest] = tuple(document["examples"]) if document is not None else ()
        return replace(cell, slice=replace(cell.slice, examples=self._known[cell.slice.digest]))


def _under_one_name(result: Result, first: Mapping[str, str]) -> Result:
    """Return a result with the digest its defense had when it was first stored; the key of its cell stays."""
    bytes_, *marks = result.cell.defense.brought or ("",)
    if not set(marks) & set(first):
        return result
    cell, key = result.cell, result.cell.key
    digest = of_text(bytes_, *(first.get(mark, mark) for mark in marks))
    cell = replace(cell, defense=replace(cell.defense, digest=digest), stored_as=("", ""))
    return replace(result, cell=replace(cell, stored_as=(key, cell.key)))


def _provenance(path: Path) -> Mapping[str, Any]:
    """Return the provenance in a document; empty if there is none."""
    made: Mapping[str, Any] = (read(path) or {}).get("provenance", {})
    return made


def _planned(row: Mapping[str, Any]) -> Planned:
    return Planned(Cell.from_json(row["cell"], row["key"]), row["skip"])


def _entry(cell: Cell) -> tuple[object, ...]:
    """Return the table entry a cell fills; it does not depend on code or weights."""
    part = cell.slice
    return (part.dataset, part.split, part.n, cell.seed, cell.defense.label, cell.attack.label, str(cell.threat))
