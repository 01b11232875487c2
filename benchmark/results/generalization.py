"""Measures of how far robustness reaches beyond the threat models of training: ours, UAR, and competitiveness ratios.

Of a threat model, the accuracy is always the worst case over the attacks that were run under it. `mean-unseen` is its
mean over the unseen threat models, `worst-unseen` the per-example worst case over all of them, and `gap` what is lost
from seen to unseen ones.

UAR(A) of Kang et al. (arXiv:1908.08016, and the README of ddkang/advex-uar) is the sum of the accuracies at the six
calibrated sizes of a distortion A by the sum of the accuracies ATA(A, eps) of models trained against it. `mUAR` is here
its mean over the distortions whose family is not in the training.

CR_ind-avg and CR_ind-worst of Dai et al. (MultiRobustBench, ICML 2023, arXiv:2302.10980) are the mean and the smallest
of acc / acc* over no attack and twenty sizes of nine attacks, where acc* is the accuracy of a model that was trained
against this very attack and size. SC, the stability constant, is the largest |acc - acc'| / |acc* - acc*'| between a
seen attack and one whose acc* is less than 3 points away. All of them are computed as in the authors' code
(`metrics.py`, and `scripts/utils.js` of their page). ATA and acc* are those of their networks, so these ratios may
exceed 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.results.accuracy import DefenseRow, Score, defense_rows
from bench.results.calibrations import ATA, CALIBRATED_ON, CLEAN_STAR, STAR
from bench.results.cell import Result
from bench.results.comparison import clean_counts
from bench.results.judging import Judge
from bench.results.ranking import in_order
from bench.results.stats import Interval, paired_difference, wilson
from bench.threats import ThreatModel, show_fraction

Bound = Literal["", "<=", ">="]
Scores = NDArray[np.float64]
Of = TypeVar("Of")

STABILITY = "SC"
# Two attacks are near each other if their acc* differ by less than this.
NEAR = 0.03


@dataclass(frozen=True)
class Measure:
    """One measure of one defense.

    Attributes:
        name: `mean-unseen`, `worst-unseen`, `gap`, `UAR Linf`, `mUAR`, `CR ind-avg`, `CR ind-worst` or `SC`.
        value: a share, a difference of shares or a ratio; `None` if it cannot be computed.
        interval: 95 % over the images, with ATA and acc* taken as known; `None` for a minimum or a maximum.
        bound: `<=` if the value is only an upper bound, since cells failed or are missing; `>=` for a lower bound.
        flagged: whether a check flags one of its numbers.
        over: what it is over, as text.
        reason: why there is no value.
    """

    name: str
    value: float | None = None
    interval: Interval | None = None
    bound: Bound = ""
    flagged: bool = False
    over: str = ""
    reason: str = ""

    def in_percent(self, value: float | None) -> float | None:
        """Return a value of this measure in percent or points; the stability constant has no unit."""
        return value if value is None or self.name == STABILITY else 100 * value


@dataclass(frozen=True)
class _Threat:
    """The scores of a defense under one threat model, or why there are none."""

    scores: Scores | None
    partial: bool = False
    flagged: bool = False

    @property
    def accuracy(self) -> float:
        assert self.scores is not None  # noqa: S101  (for the type checker)
        return float(self.scores.mean())


def measures(row: DefenseRow) -> list[Measure]:
    """Return every measure of a defense with its headline judge; one that a check blocks has none.

    What needs sizes that were not run has no value, but a reason that names them.
    """
    if row.blocks:
        return []
    found = [_mean_unseen(row), *_extremes(row)]
    if row.slice.dataset == CALIBRATED_ON:
        found += [*_unforeseen(row), *_competitive(row)]
    return found


def _mean_unseen(row: DefenseRow) -> Measure:
    name, unseen = "mean-unseen", _threats(row, lambda threat: not row.defense.has_seen(threat))
    if not unseen:
        return Measure(name, reason="no unseen threat has a number")
    return _mean(name, unseen, dict.fromkeys(unseen, 1.0), f"{len(unseen)} threat model{'s' * (len(unseen) > 1)}")


def _extremes(row: DefenseRow) -> list[Measure]:
    judge = row.judges[0]
    seen, unseen = row.worst("seen", judge), row.worst("unseen", judge)
    return [_of_score("worst-unseen", unseen), _gap(row, judge, seen, unseen)]


def _of_score(name: str, score: Score) -> Measure:
    if score.accuracy is None:
        return Measure(name, reason=score.reason or score.state)
    bound: Bound = "" if score.accuracy.complete else "<="
    return Measure(name, score.accuracy.value, score.accuracy.interval, bound, score.alarmed)


def _gap(row: DefenseRow, judge: Judge, seen: Score, unseen: Score) -> Measure:
    counts = [row.worst_counts(which, judge) for which in ("seen", "unseen")]
    if counts[0] is None or counts[1] is None or seen.accuracy is None or unseen.accuracy is None:
        why = next(score.reason or score.state for score in (seen, unseen) if score.accuracy is None)
        return Measure("gap", reason=why)
    open_ = (not seen.accuracy.complete, not unseen.accuracy.complete)
    if all(open_):
        return Measure("gap", reason="both worst cases are only upper bounds")
    differences = judge.scores(counts[0]) - judge.scores(counts[1])
    # Where the unseen worst case may still fall, the gap may still grow.
    bound: Bound = "<=" if open_[0] else ">=" if open_[1] else ""
    flagged = seen.alarmed or unseen.alarmed
    return Measure("gap", float(differences.mean()), paired_difference(differences), bound, flagged)


def _unforeseen(row: DefenseRow) -> list[Measure]:
    there = _threats(row, lambda threat: threat in ATA.get(threat.family, {}))
    families = [family for family in ATA if any(threat.family == family for threat in there)]
    weights = {family: dict.fromkeys(ATA[family], len(ATA[family]) / sum(ATA[family].values())) for family in families}
    found = {
        family: _mean(
            f"UAR {family}", {threat: there[threat] for threat in ATA[family] if threat in there}, each, "6 sizes"
        )
        for family, each in weights.items()
    }
    trained = {threat.family for threat in row.defense.trained_on}
    # Unseen as a family: of a family in the training, the larger sizes alone would be no distortion of its own.
    unseen = [family for family in families if family not in trained and found[family].value is not None]
    if not unseen:
        return list(found.values())
    every = {threat: weight for family in unseen for threat, weight in weights[family].items()}
    return [*found.values(), _mean("mUAR", {threat: there[threat] for threat in every}, every, ", ".join(unseen))]


def _competitive(row: DefenseRow) -> list[Measure]:
    there = _threats(row, lambda threat: threat in STAR)
    names = ("CR ind-avg", "CR ind-worst", STABILITY)
    if not there:
        return []
    clean = _clean(row)
    missing = _missing(there, STAR)
    if missing or clean is None:
        return [Measure(name, reason=missing or "no standard accuracy") for name in names]
    every = _with(None, _Threat(clean), there)
    stars = _with(None, CLEAN_STAR, STAR)
    average = _mean(names[0], every, {place: 1 / star for place, star in stars.items()}, "181 attacks and sizes")
    partial, flagged = (any(getattr(part, what) for part in there.values()) for what in ("partial", "flagged"))
    worst = min(part.accuracy / stars[place] for place, part in every.items())
    bound: Bound = "<=" if partial else ""
    return [
        average,
        Measure(names[1], worst, None, bound, flagged, average.over),
        Measure(names[2], reason="a cell of it failed or is missing")
        if partial
        else Measure(names[2], _stability(row, every, stars), None, "", flagged, average.over),
    ]


def _with(first: None, value: Of, others: Mapping[ThreatModel, Of]) -> dict[ThreatModel | None, Of]:
    """Return a value without attack, and those of threat models."""
    found: dict[ThreatModel | None, Of] = {first: value}
    found.update(others.items())
    return found


def _stability(
    row: DefenseRow, every: Mapping[ThreatModel | None, _Threat], stars: Mapping[ThreatModel | None, float]
) -> float:
    # No attack counts as seen.
    seen = [place for place in every if place is None or row.defense.has_seen(place)]
    ratios = [
        abs(every[one].accuracy - every[other].accuracy) / abs(stars[one] - stars[other])
        for one in seen
        for other in every
        if other is not None and other != one and 0 < abs(stars[one] - stars[other]) < NEAR
    ]
    return max(ratios, default=0.0)


def _mean(name: str, parts: Mapping[Any, _Threat], weights: Mapping[Any, float], over: str) -> Measure:
    """Return a weighted mean of accuracies; `weights` names what has to be there."""
    missing = _missing(parts, weights)
    if missing:
        return Measure(name, over=over, reason=missing)
    columns = [(parts[place].scores, weight) for place, weight in weights.items()]
    # Per image, so that an image counts once however many threat models there are.
    total = np.sum([scores * weight for scores, weight in columns if scores is not None], axis=0) / len(columns)
    most = sum(weights.values()) / len(weights)
    # The images' shares of the most that they could score are in [0, 1], as the interval wants them.
    low, high = wilson(min(float(total.sum()) / most, len(total)), len(total))
    bound: Bound = "<=" if any(part.partial for part in parts.values()) else ""
    flagged = any(part.flagged for part in parts.values())
    return Measure(name, float(total.mean()), Interval(most * low, most * high), bound, flagged, over)


def _missing(parts: Mapping[Any, _Threat], wanted: Mapping[Any, float]) -> str:
    """Return which of the threat models have no number, as text; empty if all have one."""
    gaps = [place for place in wanted if place not in parts or parts[place].scores is None]
    if not gaps:
        return ""
    shown = ", ".join(f"{place.family}:{show_fraction(place.eps)}" for place in gaps[:6])
    more = f" and {len(gaps) - 6} more" if len(gaps) > 6 else ""
    return f"{len(gaps)} of {len(wanted)} threat models have no number: {shown}{more}"


def _threats(row: DefenseRow, wanted: Callable[[ThreatModel], bool]) -> dict[ThreatModel, _Threat]:
    """Return the threat models that were asked for, without those whose attacks are all skipped."""
    judge = row.judges[0]
    found = {}
    for threat in dict.fromkeys(column.threat for column in row.attacked):
        if wanted(threat):
            part = replace(row, columns=tuple(column for column in row.attacked if column.threat == threat))
            score = part.worst("all", judge)
            counts = part.worst_counts("all", judge)
            if score.state != "skipped":
                scores = None if counts is None else judge.scores(counts)
                found[threat] = _Threat(scores, score.state == "partial", score.alarmed)
    return found


def _clean(row: DefenseRow) -> Scores | None:
    counts = clean_counts(row)
    return None if counts is None else row.judges[0].scores(counts.astype(np.uint8))


def generalization(results: Sequence[Result]) -> list[tuple[DefenseRow, list[Measure]]]:
    """Return the measures of every defense, in an order that depends on the results alone."""
    return [(row, measures(row)) for row in defense_rows(in_order(results))]


def records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return `generalization` as plain data, a row for each defense and measure; values are in percent, SC has no unit.

    A defense that a check blocks has one row without a measure, with the reason.
    """
    found = []
    for row, measured in generalization(results):
        part = row.slice
        place = {"defense": row.defense.label, "dataset": part.dataset, "split": part.split, "n": part.n}
        place |= {"seed": row.seed, "judged": row.judges[0].name}
        blocked = [Measure("", reason="; ".join(row.blocks))] if row.blocks else []
        for each in (*measured, *blocked):
            low, high = each.interval or (None, None)
            found.append(
                {
                    **place,
                    "measure": each.name,
                    "value": each.in_percent(each.value),
                    "low": each.in_percent(low),
                    "high": each.in_percent(high),
                    "bound": each.bound,
                    "flagged": each.flagged,
                    "over": each.over,
                    "reason": each.reason,
                }
            )
    return found
