"""Robust accuracy against eps: from sweeps, and from the distances that minimum-norm attacks report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.accuracy import Accuracy, accuracy_of, judges
from bench.cell import Cell, Result, Slice
from bench.documents import write_atomically
from bench.errors import BenchError
from bench.outcome import Done, Verdicts
from bench.types import show_fraction

# At how many sizes a curve from distances is read, up to the eps its attack was run at.
POINTS = 8


@dataclass(frozen=True)
class Curve:
    """Accuracy of one defense under one attack at several sizes of one threat family.

    Attributes:
        points: by eps; eps 0 is the standard accuracy.
        exact: read off the distances of one run of a minimum-norm attack; else one run per eps.
    """

    slice: Slice
    defense: str
    attack: str
    family: str
    seed: int
    points: dict[Fraction, Accuracy]
    exact: bool


def curves(results: Iterable[Result], points: int = POINTS) -> list[Curve]:
    """A curve per defense, attack and threat family: every minimum-norm attack, every sweep of two or more eps.

    A curve from distances is read at the sizes of the sweeps beside it, too, so that they stand in the
    same columns.
    """
    done = [result for result in results if isinstance(result.outcome, Done)]
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in done:
        cell = result.cell
        key = (cell.slice, cell.defense.label, cell.attack.label, cell.threat.family, cell.seed, cell.draws)
        groups.setdefault(key, []).append(result)
    swept = {result.cell.threat for group in groups.values() if len(group) > 1 for result in group}
    found = []
    for group in groups.values():
        widest = max(group, key=lambda result: result.cell.threat.eps).cell
        measured: dict[Fraction, Accuracy] = {}
        distant = [result for result in group if _outcome(result).evidence.distances]
        for result in distant:
            eps = result.cell.threat.eps
            beside = {threat.eps for threat in swept if threat.family == widest.threat.family and threat.eps <= eps}
            for size in {eps * step / points for step in range(1, points + 1)} | beside:
                measured.setdefault(size, _read_off(_outcome(result), size))
        if not distant and len(group) > 1:
            measured = {result.cell.threat.eps: _measured(result.cell, _outcome(result)) for result in group}
        if measured:
            measured[Fraction(0)] = _standard(widest, _outcome(group[0]))
            found.append(_curve(widest, dict(sorted(measured.items())), exact=bool(distant)))
    return found


def _curve(cell: Cell, points: dict[Fraction, Accuracy], *, exact: bool) -> Curve:
    return Curve(cell.slice, cell.defense.label, cell.attack.label, cell.threat.family, cell.seed, points, exact)


def _outcome(result: Result) -> Done:
    assert isinstance(result.outcome, Done)  # noqa: S101  (for the type checker)
    return result.outcome


def _read_off(done: Done, eps: Fraction) -> Accuracy:
    """What is right and was not broken within `eps`."""
    held = [distance is None or distance > float(eps) for distance in done.evidence.distances]
    return _deterministic(np.array(held, dtype=np.uint8))


def _deterministic(counts: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Accuracy:
    return accuracy_of(counts, judges(stochastic=False, draws=1)[0])


def _measured(cell: Cell, done: Done) -> Accuracy:
    return accuracy_of(done.verdicts.adversarial, judges(cell.defense.stochastic, cell.draws)[0])


def _standard(cell: Cell, done: Done) -> Accuracy:
    verdicts: Verdicts = done.verdicts
    return accuracy_of(verdicts.clean, judges(cell.defense.stochastic, cell.draws)[0])


def render(found: Sequence[Curve]) -> str:
    """A table per set of images and threat family: rows are defenses under attacks, columns sizes of eps.

    Raises:
        BenchError: there is no curve.
    """
    from tabulate import tabulate

    if not found:
        raise BenchError(
            "no curve among these results: run a minimum-norm attack such as fmn, or a sweep such as --eps 2/255,4/255"
        )
    blocks = []
    for part, family in dict.fromkeys((curve.slice, curve.family) for curve in found):
        rows = [curve for curve in found if (curve.slice, curve.family) == (part, family)]
        sizes = sorted({eps for curve in rows for eps in curve.points})
        body = [[curve.defense, curve.attack, *(_shown(curve.points.get(eps)) for eps in sizes)] for curve in rows]
        header = ["defense", "attack", *(_size(eps) for eps in sizes)]
        align = ["left", "left", *["right"] * len(sizes)]
        text = tabulate(body, header, tablefmt="simple", disable_numparse=True, colalign=align)
        title = f"{part.dataset} {part.split}, n={part.n}: robust accuracy (%) against eps in {family}"
        blocks.append("\n".join([title, "", *(line.rstrip() for line in text.split("\n"))]))
    return "\n\n".join(blocks)


def _shown(accuracy: Accuracy | None) -> str:
    return "" if accuracy is None else f"{100 * accuracy.value:.1f}"


def _size(eps: Fraction) -> str:
    short = show_fraction(eps)
    return short if len(short) <= 6 else f"{float(eps):.4g}"


def write_csv(found: Sequence[Curve], path: Path) -> None:
    """Every point with its interval, a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("dataset", "split", "n", "defense", "attack", "family", "seed", "eps", "accuracy", "low", "high", "from")
    )
    for curve in found:
        part = curve.slice
        for eps, accuracy in curve.points.items():
            low, high = accuracy.interval
            origin = "distances" if curve.exact else "sweep"
            numbers = (f"{value:.6g}" for value in (float(eps), accuracy.value, low, high))
            writer.writerow(
                (
                    part.dataset,
                    part.split,
                    part.n,
                    curve.defense,
                    curve.attack,
                    curve.family,
                    curve.seed,
                    *numbers,
                    origin,
                )
            )
    write_atomically(path, text.getvalue().encode())
