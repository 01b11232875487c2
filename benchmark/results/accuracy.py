"""Accuracies, all derived from verdicts and judged as `bench.results.judging` does, and the worst case over attacks.

Worst-of-N and majority-of-N require the same of the clean example, because an adversary may always leave an image as
it is.

The worst case over attacks takes, per example, the minimum of the counts. For a deterministic
defense that is a per-example AND. For counts it is conservative: the minimum of several noisy counts
lies below the count of the best attack. It is never above the accuracy under any one attack; an average
over attacks, or the smallest column of a table over other examples, could not promise that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.catalogue.refs import DefenseRef
from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.results.cell import Result, Slice
from bench.results.finding import Finding
from bench.results.judging import Accuracy, Counts, Judge, accuracy_of, judges
from bench.results.outcome import Cost, Done, Failed, Skipped, Verdicts
from bench.results.stats import wilson
from bench.threats import ThreatModel

Which = Literal["seen", "unseen", "all"]
State = Literal["done", "partial", "skipped", "failed", "missing", "blocked"]

WORST_CASES: tuple[Which, ...] = ("seen", "unseen", "all")

# Seconds are stored with two decimals.
_ROUNDED = 0.005

NO_ARCHIVE = "no archive of others was imported for this defense"

_NONE_SUCH: dict[Which, str] = {
    "seen": "no threat here was seen in training",
    "unseen": "every threat here was seen in training",
    "all": "no attack was run here",
}


def _held(verdicts: Verdicts, judge: Judge) -> Counts:
    """Return the counts under attack, limited by the clean counts for rules that do not estimate a mean.

    For a mean, the minimum with the clean counts would be the smaller of two noisy counts, below either mean.
    """
    if judge.rule in ("mean", "resubmission"):
        return verdicts.adversarial
    return np.minimum(verdicts.clean, verdicts.adversarial)


@dataclass(frozen=True)
class Score:
    """One place of a table: an accuracy, or the reason why there is none.

    Attributes:
        alarmed: whether a check flags the number, or blocks it.
    """

    state: State
    accuracy: Accuracy | None = None
    reason: str = ""
    alarmed: bool = False


@dataclass(frozen=True)
class Column:
    """An attack under a threat model.

    Attributes:
        imported: whether it is an archive of adversarial examples that others made against one defense.
        known_draws: whether the attack knew the random numbers of the evaluation (`bench.harness.known_draws`).
    """

    attack: str
    threat: ThreatModel
    imported: bool = False
    known_draws: bool = False


@dataclass(frozen=True)
class DefenseRow:
    """The results of one defense on one slice with one seed.

    Attributes:
        columns: the columns of all results on this slice; where this row has no result, the cell is missing. Of the
            archives of others only those that were made against this defense.
        results: by column.
    """

    defense: DefenseRef
    slice: Slice
    seed: int
    draws: int
    columns: tuple[Column, ...]
    results: Mapping[Column, Result]

    @property
    def judges(self) -> tuple[Judge, ...]:
        return judges(self.defense.stochastic, self.draws)

    def score(self, column: Column, judge: Judge) -> Score:
        """Return the robust accuracy under one attack; `partial` if parts of it found no gradient."""
        result = self.results.get(column)
        if result is None and column.imported:
            return Score("skipped", reason=NO_ARCHIVE)
        alarmed = self._alarmed([column])
        match result.outcome if result else None:
            case Done(verdicts=verdicts, evidence=evidence):
                held = _held(verdicts, judge)
                if not evidence.unable:
                    return Score("done", accuracy_of(held, judge), alarmed=alarmed)
                # The parts of an attack that could not be run are attacks that are missing.
                reason = f"an upper bound: there is no gradient for {', '.join(evidence.unable)}"
                return Score("partial", accuracy_of(held, judge, complete=False), reason, alarmed)
            case Skipped(reason=reason):
                return Score("skipped", reason=reason)
            case Failed(error=error):
                return Score("failed", reason=error)
        if result is not None and result.blocked:
            return Score("blocked", reason="; ".join(_blocks(result)))
        return Score("missing", reason="not run yet")

    def standard(self, judge: Judge) -> Score:
        """Return the standard accuracy, from the clean verdicts of the first finished cell."""
        # Any finished cell will do: the clean verdicts do not depend on the attack.
        for outcome in self._done(self.columns):
            return Score("done", accuracy_of(outcome.verdicts.clean, judge))
        return self._nothing(self.columns, judge)

    def worst(self, which: Which, judge: Judge) -> Score:
        """Return the worst case over the seen attacks, the unseen ones, or all.

        Skipped cells are left out; if cells failed, are missing or lack parts that found no gradient, the value is
        only an upper bound: `partial`.
        """
        columns = self.chosen(which)
        return self._least(columns, judge) if columns else Score("skipped", reason=_NONE_SUCH[which])

    def lowest(self, judge: Judge, threat: ThreatModel | None = None) -> Score:
        """Return the worst case over all attacks and the archives of others, under one threat model or under all."""
        columns = [each for each in (*self.attacked, *self.imported) if threat in (None, each.threat)]
        return self._least(columns, judge) if columns else Score("skipped", reason="nothing was run under this threat")

    def _least(self, columns: Sequence[Column], judge: Judge) -> Score:
        """Return the worst case over some columns."""
        counts = self.least_counts(columns, judge)
        if counts is None:
            return self._nothing(columns, judge)
        scores = [self.score(column, judge) for column in columns]
        open_cells = sum(score.state in ("failed", "missing", "blocked") for score in scores)
        alarmed = self._alarmed(columns)
        partial = next((score.reason for score in scores if score.state == "partial"), "")
        if not open_cells and not partial:
            return Score("done", accuracy_of(counts, judge), alarmed=alarmed)
        reason = f"an upper bound: {open_cells} of {len(columns)} cells failed or missing" if open_cells else partial
        return Score("partial", accuracy_of(counts, judge, complete=False), reason, alarmed)

    def worst_counts(self, which: Which, judge: Judge | None = None) -> Counts | None:
        """Return, per example, the fewest correct draws under any finished attack; uint8 `[n]`.

        Without a judge, the headline judge is used.
        """
        return self.least_counts(self.chosen(which), judge or self.judges[0])

    def least_counts(self, columns: Iterable[Column], judge: Judge) -> Counts | None:
        """Return, per example, the fewest correct draws under finished columns, uint8 `[n]`; `None` without any."""
        counts = [_held(outcome.verdicts, judge) for outcome in self._done(columns)]
        return np.stack(counts).min(axis=0) if counts else None

    @property
    def blocks(self) -> tuple[str, ...]:
        """Return the messages of the checks that keep this row from a leaderboard."""
        found = [message for result in self.results.values() for message in _blocks(result)]
        return tuple(dict.fromkeys(found))

    @property
    def alarms(self) -> dict[Finding, tuple[ThreatModel, ...]]:
        """Return the findings that flag or block this defense, and under which threat models."""
        found: dict[Finding, dict[ThreatModel, None]] = {}
        for column, result in self.results.items():
            for finding in result.findings:
                if finding.alarming and finding.concerns(column.attack):
                    found.setdefault(finding, {})[column.threat] = None
        return {finding: tuple(threats) for finding, threats in found.items()}

    def _alarmed(self, columns: Iterable[Column]) -> bool:
        return any(
            finding.alarming and finding.concerns(column.attack)
            for column in columns
            if column in self.results
            for finding in self.results[column].findings
        )

    def cost(self, which: Which) -> Cost:
        """Return the passes of all finished attacks of a worst case, those that two of its columns share once."""
        return sum((outcome.cost for _, outcome in self._paid(which)), Cost())

    def seconds(self, which: Which) -> float | None:
        """Return the seconds of all finished attacks of a worst case; `None` unless all of them are known."""
        took = [result.seconds for result, _ in self._paid(which)]
        known = [seconds for seconds in took if seconds is not None]
        return sum(known) if known and len(known) == len(took) else None

    def _paid(self, which: Which) -> list[tuple[Result, Done]]:
        """Return the finished cells of a worst case, without those that were derived from others of them.

        A composite attack whose parts are columns, too, costs what they cost, and nothing was computed for it. One that
        ran by itself, on what its earlier parts had left, spent less than they did, or took time of its own.
        """
        cells = [self.results[column] for column in self.chosen(which) if column in self.results]
        done = [(result, result.outcome) for result in cells if isinstance(result.outcome, Done)]

        def derived(result: Result, outcome: Done) -> bool:
            names = {(stage.label, stage.digest) for stage in result.cell.attack.stages}
            parts = [
                (part, each)
                for part, each in done
                if part.cell.threat == result.cell.threat and (part.cell.attack.label, part.cell.attack.digest) in names
            ]
            took = [part.seconds for part, _ in parts]
            known = [seconds for seconds in took if seconds is not None]
            same_time = result.seconds is None or len(known) < len(took) or abs(sum(known) - result.seconds) < _ROUNDED
            return bool(parts) and same_time and outcome.cost == sum((each.cost for _, each in parts), Cost())

        return [(result, outcome) for result, outcome in done if not derived(result, outcome)]

    @property
    def attacked(self) -> tuple[Column, ...]:
        """Return the columns of attacks that were run here, and knew no draws of the evaluation."""
        apart = {*self.imported, *self.known_draws}
        return tuple(column for column in self.columns if not column.threat.is_shift and column not in apart)

    @property
    def imported(self) -> tuple[Column, ...]:
        """Return the columns of archives that others made against this defense."""
        return tuple(column for column in self.columns if column.imported)

    @property
    def known_draws(self) -> tuple[Column, ...]:
        """Return the columns of attacks that knew the draws of the evaluation: a stronger attacker than the others."""
        return tuple(column for column in self.columns if column.known_draws)

    @property
    def corruptions(self) -> dict[str, list[Column]]:
        """Return the columns without an adversary: the severities of each corruption, by its name."""
        found: dict[str, list[Column]] = {}
        for column in self.columns:
            if column.threat.is_shift:
                found.setdefault(column.attack, []).append(column)
        return found

    def corrupted(self, columns: Sequence[Column], judge: Judge) -> Score:
        """Return the mean accuracy over some corruptions and severities; for the interval an example counts once."""
        outcomes = self._done(columns)
        if len(outcomes) < len(columns):
            return self._nothing(columns, judge)
        # No minimum with the clean counts here: nobody chose the shift against the image.
        scores = np.mean([judge.scores(outcome.verdicts.adversarial) for outcome in outcomes], axis=0)
        total, n = float(scores.sum()), len(scores)
        return Score("done", Accuracy(total / n, n, wilson(total, n), judge.name), alarmed=self._alarmed(columns))

    def chosen(self, which: Which) -> list[Column]:
        """Return the columns of a worst case: attacks only, no shifts without an adversary."""
        return [column for column in self.attacked if which == "all" or self.seen(column) == (which == "seen")]

    def seen(self, column: Column) -> bool:
        return self.defense.has_seen(column.threat)

    def _done(self, columns: Iterable[Column]) -> list[Done]:
        outcomes = (self.results[column].outcome for column in columns if column in self.results)
        return [outcome for outcome in outcomes if isinstance(outcome, Done)]

    def _nothing(self, columns: Iterable[Column], judge: Judge) -> Score:
        # The most alarming state wins: a failure must not hide behind cells that are merely skipped.
        scores = [self.score(column, judge) for column in columns]
        states = {score.state for score in scores}
        if "blocked" in states:
            return Score("blocked", reason=next(score.reason for score in scores if score.state == "blocked"))
        if "failed" in states:
            return Score("failed", reason="no cell finished, and at least one failed")
        if "missing" in states:
            return Score("missing", reason="no cell finished yet")
        return Score("skipped", reason="every attack is skipped")


def _blocks(result: Result) -> list[str]:
    return [finding.message for finding in result.findings if finding.verdict == "block"]


def by_slice(results: Iterable[Result]) -> list[list[Result]]:
    """Group the results by slice, in order of appearance; tables and ranks never mix slices."""
    groups: dict[Slice, list[Result]] = {}
    for result in results:
        groups.setdefault(result.cell.slice, []).append(result)
    return list(groups.values())


def defense_rows(results: Sequence[Result]) -> list[DefenseRow]:
    """Return one row per slice, defense, seed and draws, in order of appearance.

    Raises:
        BenchError: two results for one place, or one label for two different defenses: to choose
            between them silently would mislead.
    """
    columns: dict[Slice, dict[Column, None]] = {}
    groups: dict[tuple[Slice, str, int, int], dict[Column, Result]] = {}
    digests: dict[tuple[Slice, str], str] = {}
    for result in results:
        cell = result.cell
        imported, known_draws = cell.attack.access == ACCESS, cell.attack.known_draws
        column = Column(cell.attack.label, cell.threat, imported, known_draws)
        # Columns of the whole slice, so that a defense without a result for one shows a gap instead of a shorter row.
        columns.setdefault(cell.slice, {})[column] = None
        # Draws are part of the place, because counts out of different numbers cannot share a minimum.
        group = groups.setdefault((cell.slice, cell.defense.label, cell.seed, cell.draws), {})
        if column in group:
            raise BenchError(
                f"two results for {cell.title} (seed {cell.seed}): keep one, or run one of them with --label NAME"
            )
        # A row that mixes two sets of weights would show a worst case that neither defense has.
        other = digests.setdefault((cell.slice, cell.defense.label), cell.defense.digest)
        if other != cell.defense.digest:
            raise BenchError(
                f"defense {cell.defense.label!r} stands for two different ones (digests {other[:8]} and "
                f"{cell.defense.digest[:8]}): run all of its attacks again, or one of them with --label NAME"
            )
        group[column] = result
    rows = []
    for (slice_, _, seed, draws), group in groups.items():
        defense = next(iter(group.values())).cell.defense
        # An archive is made against one defense: that another one lacks it is no gap.
        mine = tuple(column for column in columns[slice_] if column in group or not column.imported)
        rows.append(DefenseRow(defense, slice_, seed, draws, mine, group))
    return rows
