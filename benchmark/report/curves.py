"""Curves of robust accuracy against eps, from sweeps and from the distances of minimum-norm attacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.report.columns import draw_table, prose, screen_width
from bench.report.render import BOUND
from bench.results import csv_file
from bench.results.cell import Cell, Result, Slice
from bench.results.judging import Accuracy, accuracy_of, judges
from bench.results.outcome import Done, Verdicts
from bench.threats import show_fraction

# The number of sizes at which a curve from distances is read, up to the eps its attack was run at.
POINTS = 8
# Columns of the CSV file; names that the leaderboard also has mean the same there.
COLUMNS = ("dataset", "split", "n", "defense", "attack", "family", "seed", "eps", "accuracy", "low", "high", "from")
NUMBERS = frozenset({"n", "seed", "eps", "accuracy", "low", "high"})


@dataclass(frozen=True)
class Curve:
    """The accuracy of one defense under one attack at several sizes of one threat family.

    Attributes:
        points: by eps; eps 0 is the standard accuracy.
        exact: whether it is read off the distances of one run of a minimum-norm attack; else one run per eps.
        blocked: whether a check forbids a number of this defense; then there are no points.
    """

    slice: Slice
    defense: str
    attack: str
    family: str
    seed: int
    points: dict[Fraction, Accuracy]
    exact: bool
    blocked: bool = False


@dataclass(frozen=True)
class Curves:
    """Several curves, which print as a table."""

    curves: tuple[Curve, ...]

    def __str__(self) -> str:
        return render(self.curves)

    def to_csv(self, path: Path | str) -> None:
        """Write every point with its interval, in percent."""
        write_csv(self.curves, Path(path))


def curves(results: Iterable[Result], points: int = POINTS) -> list[Curve]:
    """Return a curve for each minimum-norm attack and each sweep of two or more eps, by defense and threat family.

    A curve from distances is also read at the sizes of sweeps in the same family, so that both have the
    same columns.
    """
    results = list(results)
    # An archive of others under several eps is no sweep of one attack; one that knew the draws has no peers.
    done = [
        each
        for each in results
        if isinstance(each.outcome, Done) and each.cell.attack.access != ACCESS and not each.cell.attack.known_draws
    ]
    blocked = {_row(result.cell) for result in results if result.blocked}
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
                # Any run gives the same distance up to its own eps, so the first one found will do.
                measured.setdefault(size, _read_off(_outcome(result), size))
        # A single run without distances is one point, not a curve.
        if not distant and len(group) > 1:
            measured = {result.cell.threat.eps: _measured(result.cell, _outcome(result)) for result in group}
        if measured and _row(widest) in blocked:
            found.append(replace(_curve(widest, {}, exact=bool(distant)), blocked=True))
        elif measured:
            measured[Fraction(0)] = _standard(widest, _outcome(group[0]))
            found.append(_curve(widest, dict(sorted(measured.items())), exact=bool(distant)))
    return found


def _row(cell: Cell) -> tuple[object, ...]:
    """Return what a check blocks as a whole: a defense on some images."""
    return cell.slice, cell.defense.label, cell.seed, cell.draws


def _curve(cell: Cell, points: dict[Fraction, Accuracy], *, exact: bool) -> Curve:
    return Curve(cell.slice, cell.defense.label, cell.attack.label, cell.threat.family, cell.seed, points, exact)


def _outcome(result: Result) -> Done:
    assert isinstance(result.outcome, Done)  # noqa: S101  (for the type checker)
    return result.outcome


def _read_off(done: Done, eps: Fraction) -> Accuracy:
    """Return the share of examples that are right and were not broken within `eps`."""
    # At a distance of exactly eps an example is broken: the ball is closed.
    held = [distance is None or distance > float(eps) for distance in done.evidence.distances]
    return _deterministic(np.array(held, dtype=np.uint8))


def _deterministic(counts: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Accuracy:
    return accuracy_of(counts, judges(stochastic=False, draws=1)[0])


def _measured(cell: Cell, done: Done) -> Accuracy:
    judge = judges(cell.defense.stochastic, cell.draws)[0]
    # What lacks parts of its attack is only an upper bound, as in a table.
    return accuracy_of(done.verdicts.adversarial, judge, complete=not done.evidence.unable)


def _standard(cell: Cell, done: Done) -> Accuracy:
    verdicts: Verdicts = done.verdicts
    return accuracy_of(verdicts.clean, judges(cell.defense.stochastic, cell.draws)[0])


def render(found: Sequence[Curve]) -> str:
    """Return a table per set of images and threat family: rows are defenses under attacks, columns sizes of eps.

    Raises:
        BenchError: there is no curve.
    """
    if not found:
        raise BenchError(
            "no curve among these results: run a minimum-norm attack such as fmn, or a sweep such as --eps 2/255,4/255"
        )
    width = screen_width()
    blocks = []
    for part, family in dict.fromkeys((curve.slice, curve.family) for curve in found):
        rows = [curve for curve in found if (curve.slice, curve.family) == (part, family)]
        sizes = sorted({eps for curve in rows for eps in curve.points})
        body = [[curve.defense, curve.attack, *_numbers(curve, sizes)] for curve in rows]
        # Where a check blocks every defense of a family there are no sizes, but its word wants a column.
        header = ["defense", "attack", *([_size(eps) for eps in sizes] or [""])]
        text = draw_table(header, body, width, right=range(2, len(header)), named=2)
        title = f"{part.dataset} {part.split}, n={part.n}: robust accuracy (%) against eps in {family}"
        blocks.append("\n".join([prose(title, width), "", text]))
    return "\n\n".join(blocks)


def _numbers(curve: Curve, sizes: Sequence[Fraction]) -> list[str]:
    if curve.blocked:
        return ["BLOCK", *[""] * (len(sizes) - 1)]
    return [_shown(curve.points.get(eps)) for eps in sizes]


def _shown(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return ""
    return f"{'' if accuracy.complete else f'{BOUND} '}{100 * accuracy.value:.1f}"


def _size(eps: Fraction) -> str:
    short = show_fraction(eps)
    # An exact fraction such as 8/255 if it is short, because that is how people name sizes.
    return short if len(short) <= 6 else f"{float(eps):.4g}"


def write_csv(found: Sequence[Curve], path: Path) -> None:
    """Write every point with its interval, a line each; accuracies are in percent, as in the leaderboard's file."""
    lines = [
        {
            "dataset": curve.slice.dataset,
            "split": curve.slice.split,
            "n": str(curve.slice.n),
            "defense": curve.defense,
            "attack": curve.attack,
            "family": curve.family,
            "seed": str(curve.seed),
            "eps": f"{float(eps):.6g}",
            **csv_file.percentages(accuracy),
            "from": "distances" if curve.exact else "sweep",
        }
        for curve in found
        for eps, accuracy in curve.points.items()
    ]
    csv_file.write(lines, COLUMNS, NUMBERS, path)
