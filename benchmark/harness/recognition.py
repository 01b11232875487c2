"""Recognition of a user's defense or attack: stored verdicts hold if both its bytes and its answers are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bench.catalogue.identity import of_text
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.results.cell import Cell, Planned
from bench.results.store import Store

Ref = TypeVar("Ref", DefenseRef, AttackRef)


@dataclass(frozen=True)
class Recognized:
    """A plan whose keys include the answers of users' defenses and attacks.

    Attributes:
        plan: the cells.
        changed: labels of those whose bytes are known with other answers.
        met: label, digest and mark of new answers, and the answers.
    """

    plan: list[Planned]
    changed: tuple[str, ...]
    met: tuple[tuple[str, str, str, str], ...]

    def remember(self, store: Store) -> None:
        """Store the new answers, so that the next run recognizes them."""
        for label, digest, mark, answers in self.met:
            store.keep_answers(label, digest, mark, answers)


def recognized(plan: Sequence[Planned], store: Store) -> Recognized:
    """Give other keys to defenses and attacks with the same bytes but other answers.

    The difference may come from a file they read, the environment, or the list of their modules.

    Args:
        plan: cells whose digests cover bytes alone.
        store: holds the answers that belong to its verdicts; nothing is written.
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
                    # New bytes with new answers are no change: only known bytes can have changed their answers.
                    changed.update({each.label: None} if known else {})
            found.append(marks[place])
        return replace(ref, digest=of_text(ref.digest, *found), brought=(ref.digest, *found)) if found else ref

    def over(cell: Cell) -> Cell:
        return replace(cell, defense=marked(cell.defense), attack=marked(cell.attack))

    cells = _once(over)
    found = [replace(each, cell=cells(each.cell), parts=tuple(map(cells, each.parts))) for each in plan]
    return Recognized(found, tuple(changed), tuple(met))


def _brought(ref: DefenseRef | AttackRef) -> list[DefenseRef | AttackRef]:
    """List the parts of a reference that a user brought: itself, the classifier behind its purifier, or both."""
    found: list[DefenseRef | AttackRef] = [ref] if ref.answers else []
    if isinstance(ref, DefenseRef) and ref.behind is not None:
        found += _brought(ref.behind)
    return found


def _mark(known: Mapping[str, str], answers: str) -> str:
    """Return the mark that stands for these answers in a key; answers known up to rounding keep their mark."""
    from bench.catalogue import behaviour

    # Sorted, so that answers near two known ones get the same mark on every machine.
    for mark, before in sorted(known.items()):
        if behaviour.same(before, answers):
            return mark
    return hashlib.sha256(answers.encode()).hexdigest()[:16]


def _once(work: Callable[[Cell], Cell]) -> Callable[[Cell], Cell]:
    """Return `work` with one result per key, so that parts and columns remain the same objects."""
    made: dict[str, Cell] = {}

    def remembered(cell: Cell) -> Cell:
        if cell.key not in made:
            made[cell.key] = work(cell)
        return made[cell.key]

    return remembered
