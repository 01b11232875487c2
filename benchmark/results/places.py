"""Places in a results folder: what is kept where.

<root>/<dataset>/<threat>/<defense>/<attack>.<key>.json             a finished cell
<root>/<dataset>/<threat>/<defense>/<attack>.<key>.shard-<i>.json   part of an unfinished one
<root>/<dataset>/<threat>/<defense>/<attack>.<key>.failed.json      why a cell failed last time
<root>/<dataset>/<threat>/<defense>/<attack>.<key>.safetensors      the first images it was judged on
<root>/<dataset>/<threat>/<defense>/checks.<key>.json               findings after the attacks (A01-A14)
<root>/<dataset>/preflight/<defense>.<key>.json                     findings before any attack (S01-S17)
<root>/archives/<name>.<digest>.safetensors                         adversarial examples that others made
<root>/<dataset>/plans/<defense>.<key>.json                         the format it is attacked in here
<root>/recognized/<label>.<digest>.<mark>.json                      what a user's defense or attack answered
<root>/<dataset>/examples.<digest>.json                             which images a slice holds
<root>/runs/<time>-<digest>.json                                    which cells a run asked for
<root>/locks/<key>                                                  somebody is computing this cell
<root>/matrix.json                                                  the same, as earlier versions kept it
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.catalogue.refs import DefenseRef
from bench.datasets.imported import ACCESS
from bench.results.cell import Cell, Slice
from bench.threats import ThreatModel


def below(folder: Path) -> list[Path]:
    """Return every file and folder below `folder`, sorted; a folder that its run removes meanwhile counts as empty."""
    # Not Path.rglob: before Python 3.13 it raises where a folder vanishes between its listing and its reading.
    walked = ((Path(place), names + files) for place, names, files in os.walk(folder))
    return sorted(place / name for place, names in walked for name in names)


@dataclass(frozen=True)
class Places:
    """The paths of documents in the results folder `root`."""

    root: Path

    def cell(self, cell: Cell, suffix: str = "") -> Path:
        """Return the path of a finished cell, or with a suffix that of one of its shards or of its error."""
        folder = _folder(cell.slice.dataset, cell.threat, cell.defense.label)
        middle = f".{suffix}" if suffix else ""
        return self.root / folder / f"{slug(cell.attack.label)}.{cell.key[:16]}{middle}.json"

    def checks(self, cell: Cell) -> Path:
        """Return the path of the findings after the attacks about the defense and threat model of a cell."""
        # An archive of others has findings of its own: those about attacks must not be replaced by them.
        own = (cell.attack.label, cell.attack.digest) if cell.attack.access == ACCESS else ()
        name = f"checks.{digest_of(cell.defense.digest, cell.slice.digest, cell.seed, cell.draws, *own)}.json"
        return self.cell(cell).with_name(name)

    def preflight(self, defense: DefenseRef, part: Slice) -> Path:
        """Return the path of the findings before any attack."""
        name = f"{slug(defense.label)}.{digest_of(defense.digest, part.digest)}.json"
        return self.root / slug(part.dataset) / "preflight" / name

    def formats(self, defense: DefenseRef, part: Slice, key: str) -> Path:
        """Return the path of the formats that a defense is searched in."""
        return self.root / slug(part.dataset) / "plans" / f"{slug(defense.label)}.{key[:16]}.json"

    def examples(self, dataset: str, digest: str) -> Path:
        """Return the path of the ids and hashes of a slice's images."""
        # 16 digits of a digest keep paths short enough for every file system.
        return self.root / slug(dataset) / f"examples.{digest[:16]}.json"


def digest_of(*parts: object) -> str:
    """Return the beginning of the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _folder(dataset: str, threat: ThreatModel, defense: str) -> str:
    """Return the folder of the cells of a defense under a threat model, within a results folder."""
    return "/".join((slug(dataset), threat.slug, slug(defense)))


@lru_cache(maxsize=4096)
def slug(label: str) -> str:
    """Return a label as a part of a path."""
    # Only characters that every file system takes; the key in the name keeps different labels apart.
    return re.sub(r"[^A-Za-z0-9._=-]+", "+", label).strip("+") or "unnamed"
