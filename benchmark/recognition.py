"""Whether what a user brought is what stored verdicts are of: the same bytes, and the same answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bench.cell import AttackRef, Cell, DefenseRef, Planned
from bench.fingerprint import of_text
from bench.store import Store

Ref = TypeVar("Ref", DefenseRef, AttackRef)


@dataclass(frozen=True)
class Recognized:
    """A plan whose keys name what defenses and attacks of users answer.

    Attributes:
        plan: the cells.
        changed: labels of those whose bytes were met before with other answers.
        met: label, digest and mark of answers that are new, and the answers.
    """

    plan: list[Planned]
    changed: tuple[str, ...]
    met: tuple[tuple[str, str, str, str], ...]

    def remember(self, store: Store) -> None:
        """Keep what is new, for the next run to recognize."""
        for label, digest, mark, answers in self.met:
            store.keep_answers(label, digest, mark, answers)


def recognized(plan: Sequence[Planned], store: Store) -> Recognized:
    """Tell apart what has the same bytes and other answers: a file it reads, the environment, a list of modules.

    Args:
        plan: cells whose digests are of bytes alone.
        store: knows the answers that its verdicts are of; nothing is written.
    """
    marks: dict[tuple[str, str, str], str] = {}
    changed: dict[str, None] = {}
    met: list[tuple[str, str, str, str]] = []

    def marked(ref: Ref) -> Ref:
        found: list[str] = []
        for each in _brought(ref):
            place = (each.label, each.digest, each.answers)
            if place not in marks:
                known = store.answers(each.label, each.digest)
                marks[place] = _mark(known, each.answers)
                if marks[place] not in known:
                    met.append((each.label, each.digest, marks[place], each.answers))
                    changed.update({each.label: None} if known else {})
            found.append(marks[place])
        return replace(ref, digest=of_text(ref.digest, *found), brought=(ref.digest, *found)) if found else ref

    def over(cell: Cell) -> Cell:
        return replace(cell, defense=marked(cell.defense), attack=marked(cell.attack))

    cells = _once(over)
    found = [replace(each, cell=cells(each.cell), parts=tuple(map(cells, each.parts))) for each in plan]
    return Recognized(found, tuple(changed), tuple(met))


def _brought(ref: DefenseRef | AttackRef) -> list[DefenseRef | AttackRef]:
    """What of a reference a user brought: itself, or the classifier that a purifier stands before."""
    found: list[DefenseRef | AttackRef] = [ref] if ref.answers else []
    if isinstance(ref, DefenseRef) and ref.behind is not None:
        found += _brought(ref.behind)
    return found


def _mark(known: Mapping[str, str], answers: str) -> str:
    """What stands for these answers in a key: that of the same ones where they are known."""
    from bench import behaviour

    for mark, before in sorted(known.items()):
        if behaviour.same(before, answers):
            return mark
    return hashlib.sha256(answers.encode()).hexdigest()[:16]


def _once(work: Callable[[Cell], Cell]) -> Callable[[Cell], Cell]:
    """The same cell for the same cell, so that parts and columns stay the same."""
    made: dict[str, Cell] = {}

    def remembered(cell: Cell) -> Cell:
        if cell.key not in made:
            made[cell.key] = work(cell)
        return made[cell.key]

    return remembered
