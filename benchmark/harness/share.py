"""A share of a run: the part of its tasks that one of several machines computes, without a word to the others.

Which tasks belong to a share follows from the plan alone, never from what is stored: so calls that start at different
times, or with a results folder each, still compute every task once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bench.errors import BenchError
from bench.results.cell import Cell

# More machines than anybody has; a larger number is a slip of the fingers.
_MOST = 1_000_000
_FORM = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Portion:
    """Some shards of some cells.

    Attributes:
        tasks: the key of a cell and the number of one of its shards.
    """

    tasks: frozenset[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.tasks)

    def __contains__(self, task: tuple[Cell, int]) -> bool:
        cell, index = task
        return (cell.key, index) in self.tasks

    def of(self, cell: Cell) -> list[int]:
        """Return the shards of a cell that are in it."""
        return [index for index in range(len(cell.shards)) if (cell, index) in self]


@dataclass(frozen=True)
class Share:
    """Part `index` of `of`, counted from 1; all parts together are everything, and no two have a task in common."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read a share from text such as `2/3`.

        Raises:
            BenchError: the text has another form, or there is no such part.
        """
        match = _FORM.fullmatch(text)
        if match and 1 <= int(match[1]) <= int(match[2]) <= _MOST:
            return cls(int(match[1]), int(match[2]))
        raise BenchError(f"--shard {text!r}: give I/N, such as 2/3 for the second of three shares, with 1 <= I <= N")

    def portion(self, cells: Iterable[Cell]) -> Portion:
        """Return the tasks of this share among those of all cells of a plan, the ones that are stored included."""
        return Portion(frozenset((cell.key, index) for cell, index in dealt(cells, self.of)[self.index - 1]))


def dealt(cells: Iterable[Cell], hands: int) -> list[list[tuple[Cell, int]]]:
    """Deal the shards of all cells to so many hands, one after the other, the most expensive first.

    So no two hands differ by more passes than the most expensive task takes. And of the full shards of one cell no hand
    gets two more than another: what a pass costs differs a thousandfold between defenses, and how many passes an attack
    really needs is known to nobody, but both are about the same for all shards of a cell.

    Args:
        cells: of the plan, in any order; one that comes twice counts once.
        hands: at least 1.
    """
    once = {cell.key: cell for cell in cells}.values()
    tasks = sorted(((cell, index) for cell in once for index in range(len(cell.shards))), key=_turn)
    return [tasks[first::hands] for first in range(hands)]


def cost_of(cell: Cell, index: int) -> int:
    """Return the most passes that a shard takes, a backward counted as two; at least 1, for judging it takes some."""
    start, stop = cell.shards[index]
    return max(1, cell.passes(stop - start))


def _turn(task: tuple[Cell, int]) -> tuple[str | int, ...]:
    cell, index = task
    named = (cell.attack.label, str(cell.threat), cell.slice.n, cell.seed, cell.draws)
    # The key last: those of a user's code depend on its answers, which may be rounded differently on another machine.
    return (-cost_of(cell, index), cell.defense.label, *named, index, cell.key)
