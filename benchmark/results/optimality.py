"""How near each attack comes to the envelope: per example, the best of all attacks that were run under its threat.

After AttackBench (Cina et al., AAAI 2025, arXiv:2404.19460). Its local optimality of an attack on a defense is
`(clean - area) / (clean - best)`: the area under the curve of robust accuracy against eps is set between that
of no attack at all and that of the envelope. At a single eps the same ratio of accuracies is, for a deterministic
defense, the share of the examples broken by any attack that this one breaks, too. The global optimality is the mean
over defenses.

For a stochastic defense the counts of correct draws, as its headline judge reads them, stand in the place of right and
broken: the ratio is the share of the correct draws that this attack takes away, of those that all attacks together do.
The envelope takes the smallest of several noisy counts, so it lies below what any attack could reach; a share is
then a lower bound, and the lower the more attacks there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bench.results.accuracy import Column, DefenseRow, Score, defense_rows
from bench.results.cell import Result
from bench.results.judging import Judge
from bench.results.outcome import Done, Skipped

Scores = NDArray[np.float64]
_OPEN = ("failed", "missing", "blocked", "partial")
_FEWEST = 2  # sizes of eps that make a curve


@dataclass(frozen=True)
class Standing:
    """One attack on one defense beside all others under its threat model.

    Attributes:
        row: the defense, and its results.
        column: the attack and the threat model.
        judge: the headline judge of the defense.
        score: the accuracy under the attack, or the reason why there is none.
        optimality: at this eps, at most 1; `None` without a number, or where no attack breaks anything. It may fall
            below 0 for a stochastic defense, whose draws differ from those that judged the clean images.
        area: the optimality over the sizes of this family, from distances or from several eps; `None` without them.
        alone: how much the accuracy under all attacks together would rise without this one, in [0, 1].
        bounded: whether the optimality is only an upper bound, because attacks of the envelope failed or are missing.
        area_bounded: the same of the area, over the whole family.
    """

    row: DefenseRow
    column: Column
    judge: Judge
    score: Score
    optimality: float | None = None
    area: float | None = None
    alone: float | None = None
    bounded: bool = False
    area_bounded: bool = False

    @property
    def passes(self) -> tuple[float, float] | None:
        """Return the forwards and backwards per image; `None` if the cell is not finished."""
        outcome = _outcome(self.row, self.column)
        n = self.row.slice.n
        return None if outcome is None else (outcome.cost.forwards / n, outcome.cost.backwards / n)


def standings(results: Sequence[Result]) -> list[Standing]:
    """Return every attack on every defense beside the others: by defense and threat, the strongest first.

    Skipped cells are left out. A defense that a check blocks has no number. Archives by others are in no
    envelope, because they were made against one defense, and neither are attacks that knew the draws of the evaluation.
    """
    return [each for row in defense_rows(results) for each in _of_row(row)]


def overall(found: Iterable[Standing]) -> dict[tuple[str, str], float]:
    """Return the global optimality by attack and threat: the mean over the defenses, of two or more.

    An attack that has no number, or only a bound, on one of the defenses that others have a number on under this
    threat, has none: a mean over fewer, perhaps easier ones could not be compared.
    """
    by_threat: dict[str, list[Standing]] = {}
    for each in found:
        by_threat.setdefault(str(each.column.threat), []).append(each)
    means = {}
    for threat, those in by_threat.items():
        rows = {id(each.row) for each in those if each.optimality is not None}
        shares: dict[str, dict[int, float]] = {}
        for each in those:
            if each.optimality is not None and not each.bounded:
                shares.setdefault(each.column.attack, {})[id(each.row)] = each.optimality
        if len(rows) >= _FEWEST:
            means.update(
                {
                    (attack, threat): sum(one.values()) / len(one)
                    for attack, one in shares.items()
                    if len(one) == len(rows)
                }
            )
    return means


def _of_row(row: DefenseRow) -> list[Standing]:
    judge = row.judges[0]
    columns = [each for each in row.attacked if not _skipped(row, each)]
    if row.blocks:
        reason = "; ".join(row.blocks)
        return [Standing(row, each, judge, Score("blocked", reason=reason, alarmed=True)) for each in columns]
    areas = {family: _areas(row, judge, family) for family in dict.fromkeys(each.threat.family for each in columns)}
    found: list[Standing] = []
    for threat in dict.fromkeys(each.threat for each in columns):
        rivals = [each for each in columns if each.threat == threat]
        kin = [each for each in columns if each.threat.family == threat.family]
        open_, wide = (_open(row, those, judge) for those in (rivals, kin))
        here = [
            Standing(
                row,
                each,
                judge,
                row.score(each, judge),
                *_at_eps(row, judge, each, rivals, areas[threat.family].get(each.attack)),
                bounded=open_,
                area_bounded=wide,
            )
            for each in rivals
        ]
        found += sorted(here, key=lambda each: each.score.accuracy.value if each.score.accuracy else 2.0)
    return found


def _at_eps(
    row: DefenseRow, judge: Judge, column: Column, rivals: Sequence[Column], area: float | None
) -> tuple[float | None, float | None, float | None]:
    """Return the optimality of an attack at its eps, its area as given, and what the envelope is without it."""
    if row.score(column, judge).state != "done":
        return None, None, None
    clean, mine = _clean(row, judge), _done(row, judge, column)
    others = _under(row, judge, [each for each in rivals if each != column])
    without = float((clean if others is None else others).mean())
    # Of the scores, not of the counts: they are smallest together, because no score falls when a count rises.
    best = float((mine if others is None else np.minimum(mine, others)).mean())
    return _ratio(float(clean.mean()), float(mine.mean()), best), area, max(0.0, without - best)


def _ratio(clean: float, mine: float, best: float) -> float | None:
    """Return where an attack stands between no attack, 0, and the envelope, 1; `None` if they are the same."""
    return float((clean - mine) / (clean - best)) if clean > best else None


def _areas(row: DefenseRow, judge: Judge, family: str) -> dict[str, float | None]:
    """Return the optimality over the sizes of a family, by attack, for attacks with distances or several sizes.

    Where all have distances the areas are exact, up to the smallest eps that any of them was run at. Beside sweeps,
    distances are read at the sizes that all sweeps have, and the areas are those of the polygons through these.
    """
    sizes, exact = _curves(row, family)
    reach = min((limit for limit, _ in exact.values()), default=None)
    sweeps = {attack: eps for attack, eps in sizes.items() if attack not in exact and len(eps) >= _FEWEST}
    shared = [eps for eps in next(iter(sweeps.values()), {}) if all(eps in others for others in sweeps.values())]
    grid = sorted(eps for eps in shared if reach is None or eps <= reach)
    clean = _clean(row, judge)
    if len(grid) >= _FEWEST:
        kept: dict[str, list[Scores]] = {
            **{attack: [_done(row, judge, eps[size]) for size in grid] for attack, eps in sweeps.items()},
            **{attack: [np.greater(far, float(size)) * 1.0 for size in grid] for attack, (_, far) in exact.items()},
        }
        paths = {attack: _falling(np.stack([clean, *path]), judge) for attack, path in kept.items()}
        ends = np.array([0.0, *map(float, grid)])
        best = _polygon(np.stack(list(paths.values())).min(axis=0), ends)
        most = float(clean.mean() * ends[-1])
        return {attack: _ratio(most, _polygon(path, ends), best) for attack, path in paths.items()}
    if reach is None:
        return {}
    end = float(reach)
    best = _within(np.stack([far for _, far in exact.values()]).min(axis=0), end)
    return {attack: _ratio(float(clean.mean() * end), _within(far, end), best) for attack, (_, far) in exact.items()}


def _polygon(path: Scores, ends: Scores) -> float:
    """Return the area below the mean scores `[sizes, n]` at these sizes, joined by straight lines."""
    heights = path.mean(1)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(ends)).sum())


def _within(distances: Scores, end: float) -> float:
    """Return the area under the curve of examples farther than eps, from 0 to `end`."""
    return float(np.minimum(distances, end).mean())


def _falling(path: Scores, judge: Judge) -> Scores:
    """Return scores `[sizes, n]` that never rise with eps: who may go far may stay near.

    Not for a mean over draws, where the minimum of several noisy counts would lie below each of their means.
    """
    return path if judge.draws > 1 and judge.rule == "mean" else np.minimum.accumulate(path, axis=0)


def _curves(
    row: DefenseRow, family: str
) -> tuple[dict[str, dict[Fraction, Column]], dict[str, tuple[Fraction, Scores]]]:
    """Return the finished columns of a family by attack and eps, and the distances of those that measure any.

    Distances, `[n]`, come with the eps of their run, beyond which they are infinite.
    """
    sizes: dict[str, dict[Fraction, Column]] = {}
    exact: dict[str, tuple[Fraction, Scores]] = {}
    for column in row.attacked:
        outcome = _outcome(row, column)
        if outcome is None or outcome.evidence.unable or column.threat.family != family:
            continue
        sizes.setdefault(column.attack, {})[column.threat.eps] = column
        eps, distances = column.threat.eps, outcome.evidence.distances
        if distances and row.draws == 1 and (column.attack not in exact or exact[column.attack][0] < eps):
            far = [np.inf if each is None else each for each in distances]
            exact[column.attack] = eps, np.array(far, dtype=np.float64)
    return sizes, exact


def _done(row: DefenseRow, judge: Judge, column: Column) -> Scores:
    """Return the scores of the examples under a finished attack, `[n]`."""
    scores = _under(row, judge, [column])
    assert scores is not None  # noqa: S101  (it is finished)
    return scores


def _under(row: DefenseRow, judge: Judge, columns: Iterable[Column]) -> Scores | None:
    """Return the scores of the examples under all of some attacks together, `[n]`; `None` if none is finished."""
    counts = row.least_counts(columns, judge)
    return None if counts is None else judge.scores(counts)


def _clean(row: DefenseRow, judge: Judge) -> Scores:
    done = (_outcome(row, column) for column in row.attacked)
    return next(
        (judge.scores(outcome.verdicts.clean) for outcome in done if outcome is not None), np.zeros(row.slice.n)
    )


def _open(row: DefenseRow, columns: Iterable[Column], judge: Judge) -> bool:
    return any(row.score(column, judge).state in _OPEN for column in columns)


def _outcome(row: DefenseRow, column: Column) -> Done | None:
    result = row.results.get(column)
    return result.outcome if result is not None and isinstance(result.outcome, Done) else None


def _skipped(row: DefenseRow, column: Column) -> bool:
    result = row.results.get(column)
    return result is not None and isinstance(result.outcome, Skipped)


def by_group(found: Iterable[Standing]) -> Mapping[tuple[object, int], list[Standing]]:
    """Return the standings of each set of images and seed."""
    groups: dict[tuple[object, int], list[Standing]] = {}
    for each in found:
        groups.setdefault((each.row.slice, each.row.seed), []).append(each)
    return groups
