"""Cells that judge adversarial examples made elsewhere, by the defense itself and like those of any attack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.catalogue import identity, versions
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.request import NAME
from bench.datasets.examples import Examples
from bench.datasets.imported import ACCESS, PREFIX, TARGET, place
from bench.errors import BenchError
from bench.harness.pairing import Paired
from bench.results.cell import Cell, Planned, Slice
from bench.threats import ThreatModel

# Characters of a source: it stands in tables.
_LONGEST_SOURCE = 120


def build(
    paired: Paired,
    defense: DefenseRef,
    threat: ThreatModel,
    examples: Examples,
    *,
    folder: Path,
    source: str,
    seed: int,
    draws: int,
    batch: int,
) -> Planned:
    """Make the cell that judges an archive by a defense; `folder` is the results folder that keeps the archive."""
    part = Slice(examples.dataset, examples.split, len(examples), examples.digest)
    attack, judged_by = reference(paired, folder, source), draws if defense.stochastic else 1
    return Planned(Cell(defense, attack, threat, part, seed, judged_by, batch, versions.of_harness()))


def label_of(name: str, file: Path, attack: str = "") -> str:
    """Return the label of an archive: of the name that was given, else of its file.

    Raises:
        BenchError: a given name has a character that names may not have.
    """
    if name and not NAME.fullmatch(name):
        raise BenchError(f"--name {name!r}: give letters, digits, dots, dashes and underscores, such as smith2026")
    parts = (name or _safe(file.stem) or "archive", _safe(attack))
    return PREFIX + "-".join(filter(None, parts))


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:48].strip("-._")


def source_of(text: str) -> str:
    """Return the source as one printable line.

    Raises:
        BenchError: it is too long for a table.
    """
    line = "".join(char for char in " ".join(text.split()) if char.isprintable())
    if len(line) > _LONGEST_SOURCE:
        raise BenchError(f"--source has {len(line)} characters: give at most {_LONGEST_SOURCE}, such as 'Smith 2026'")
    return line


def reference(paired: Paired, folder: Path, source: str) -> AttackRef:
    """Return the attack that hands in an archive; its digest is of the arrays alone."""
    name = paired.label.removeprefix(PREFIX)
    config = {
        "file": str(place(folder, name, paired.digest)),
        "digest": paired.digest,
        "source": source,
        "covers": len(paired.rows),
    }
    return AttackRef(paired.label, TARGET, identity.of_text("archive", paired.digest), access=ACCESS, config=config)


def require_distinct(names: Sequence[str], labels: Sequence[str], file: Path) -> None:
    """Raise a BenchError if two attacks of a file get one label: the second would take the place of the first.

    Args:
        names: of the attacks, as the file has them.
        labels: of their cells, in the same order.
        file: for the message.
    """
    first: dict[str, str] = {}
    for name, label in zip(names, labels, strict=True):
        if label in first:
            raise BenchError(
                f"archive {str(file)!r}: its attacks {first[label]!r} and {name!r} would both be called {label}: give "
                "one of them another name in the file"
            )
        first[label] = name


def required_apart(planned: Planned, stored: Sequence[Planned]) -> None:
    """Raise a BenchError if a results folder has another archive, source or defense under the same name.

    Args:
        planned: the cell of an archive.
        stored: the cells that the folder knows.
    """
    cell = planned.cell
    for each in stored:
        other = each.cell
        if (other.slice, other.defense.label) != (cell.slice, cell.defense.label):
            continue
        same = (other.attack.label, other.threat, other.seed) == (cell.attack.label, cell.threat, cell.seed)
        if other.defense.digest != cell.defense.digest and not same:
            raise BenchError(
                f"{cell.defense.label!r} here is not the one whose results the folder holds: give this one a name with "
                "--label, or another --results"
            )
        # The same archive judged by a defense of before is replaced.
        if not same or other.defense.digest != cell.defense.digest:
            continue
        if other.attack.digest != cell.attack.digest:
            raise BenchError(f"{cell.attack.label} of {cell.defense.label} is another archive here: give a --name")
        was, now = (str(ref.config.get("source", "")) for ref in (other.attack, cell.attack))
        if was != now:
            raise BenchError(
                f"{cell.attack.label} is stored with the source {was!r}: leave --source {now!r} out, or give a --name"
            )
