"""Appraisals: each defense is loaded once and timed before a run begins, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.catalogue.guests import guest
from bench.datasets.examples import Examples
from bench.errors import BenchError, one_line
from bench.harness.estimate import seconds_per_pass
from bench.machine.isolation import Call, Elsewhere, each_apart
from bench.results.cell import Cell

# As few images as tell the seconds of a pass within a factor of a few.
_TIMED = 8


@dataclass(frozen=True)
class Appraisal:
    """What loading and asking a defense once has shown.

    Attributes:
        speed: seconds per example and pass; 0 where a gradient cannot be timed.
        broken: how its code ended the process, or that it hangs; empty where it did neither.
    """

    speed: float = 0.0
    broken: str = ""


def appraised(cells: Sequence[Cell], examples: Examples, device: str) -> dict[str, Appraisal]:
    """Return the appraisal of each defense of some cells, by its label.

    Raises:
        BenchError: a defense does not load, which is a mistake in the request and no failed cell.
    """
    # By label, so that each defense is loaded once for all of its cells.
    each = {cell.defense.label: cell for cell in cells}
    few = examples.part(0, min(_TIMED, len(examples)))
    calls = [Call(_appraise, (cell, few, device), guest(cell.defense), tag=label) for label, cell in each.items()]
    found = {}
    for answer in each_apart(calls):
        label = answer.call.tag
        if isinstance(answer.error, Elsewhere) and answer.error.end is not None:
            found[label] = Appraisal(broken=f"it cannot be asked once: {answer.error}")
        elif isinstance(answer.error, BenchError):
            raise answer.error
        elif answer.error is not None:
            # What was raised elsewhere comes as a line already.
            why = str(answer.error) if isinstance(answer.error, Elsewhere) else one_line(answer.error)
            raise BenchError(f"defense {label!r} does not load: {why}; see bench doctor") from answer.error
        else:
            found[label] = Appraisal(answer.value)
    return found


def _appraise(cell: Cell, few: Examples, device: str) -> float:
    """In the process: load the defense of a cell, and time it."""
    from bench.catalogue.loading import load_defense

    load_defense(cell.defense, few.spec)
    try:
        return seconds_per_pass(cell, few, device, batches=2)
    except Exception:  # noqa: BLE001  (preflight and the attacks say it, and say it better)
        return 0.0
