"""The gate: fails when robust accuracy really dropped against a baseline, and never otherwise.

Candidate and baseline are compared on the same examples, cell by cell, with an exact paired test:
McNemar for verdicts of a deterministic defense, the sign-flip permutation test for counts of draws.
All cells of a run form one family (Holm), so alpha is the chance of a false alarm per run, not per
cell. A drop counts only if it is also at least `min_effect`, since with many examples the test sees
drops too small to matter.

`min_effect` and `must_detect` are two different promises. `min_effect` is the smallest drop worth
failing for; `must_detect` is the smallest drop the gate must be able to see, or a green gate says
nothing. Were they one number, a 1-point gate would need at least 910 examples even for a single cell
whose verdicts never flip by themselves, and every quick check would end as underpowered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.report.floors import Floor, hold
from bench.report.gate_report import POWER, GateReport, GateRow, Standing, Verdict
from bench.results.accuracy import defense_rows
from bench.results.cell import Cell, Result
from bench.results.outcome import Done, Failed, Outcome, Skipped, Verdicts
from bench.results.pairing import only, pairs_of
from bench.results.stats import holm, sign_flip, smallest_detectable_drop

Counts = NDArray[np.uint8]
Place = tuple[str, str, str, str, str]
# A defense on a set of images: the first three of a place.
Owner = tuple[str, str, str]

# Of cells that are not gated, so many are named.
_NAMED = 5


def compare(
    baseline: Sequence[Result] | None,
    candidate: Sequence[Result],
    *,
    alpha: float = 0.01,
    min_effect: float = 0.01,
    must_detect: float = 0.15,
    allow_underpowered: bool = False,
    floors: Sequence[Floor] = (),
    no_failed: bool = False,
    seconds: Callable[[Cell], float] = lambda _: 0.0,
) -> GateReport:
    """Compare two runs cell by cell.

    Args:
        baseline: the results to compare with; skipped cells are ignored, every other one is gated. `None` if
            the candidate is held to floors alone.
        candidate: the results that are tested; cells the baseline lacks are not gated.
        alpha: chance of a false alarm per run, in (0, 1).
        min_effect: smallest drop of accuracy worth failing for, in [0, 1].
        must_detect: the drop that must be caught with 80 % chance, in (0, 1].
        allow_underpowered: exit 0 instead of 4 if it would not be caught.
        floors: accuracies that the candidate must not fall below.
        no_failed: refuse cells of the candidate that failed or are missing even where nothing holds them.
        seconds: how long measuring a cell of the candidate took; only for readers of the report.

    Raises:
        BenchError: a share is out of range, a side holds two results for one place, or a floor names what the
            candidate does not have.
    """
    for name, value in (("alpha", alpha), ("min_effect", min_effect), ("must_detect", must_detect)):
        if not 0 <= value <= 1 or (name != "min_effect" and value == 0) or (name == "alpha" and value == 1):
            raise BenchError(f"{name}={value} is out of range: write a share such as 0.01 (1 % or 1 point)")
    held = hold(floors, candidate)
    findings = _Findings(seconds)
    if baseline is not None:
        findings.compare(baseline, candidate)
    if no_failed:
        findings.require_finished(candidate)
    findings.absent += [f"floor {row.title}: {row.reason}" for row in held if row.verdict == "absent"]
    rows = _judged(findings.rows, alpha, min_effect)
    return GateReport(
        rows,
        tuple(findings.trouble),
        tuple(findings.absent),
        (*findings.notes, *_flagged(candidate)),
        _detectable(rows, alpha, min_effect),
        must_detect,
        allow_underpowered,
        held,
        # Two defenses of one name have no worst case together.
        () if findings.trouble else _standings(candidate),
        alpha,
        min_effect,
    )


@dataclass
class _Findings:
    """The rows and remarks of all pairs of cells, before Holm's correction."""

    seconds: Callable[[Cell], float]
    rows: list[GateRow] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    clean: set[tuple[str, ...]] = field(default_factory=set)

    def compare(self, baseline: Sequence[Result], candidate: Sequence[Result]) -> None:
        # What an archive brings to light about a defense holds for all of its numbers.
        blocked = {"baseline": _blocked(baseline), "candidate": _blocked(candidate)}
        archives = [each.cell.title for each in (*baseline, *candidate) if each.cell.attack.access == ACCESS]
        # Made against one set of weights, so that they say nothing of another; no run could compute them again.
        baseline, candidate = (
            [each for each in side if each.cell.attack.access != ACCESS] for side in (baseline, candidate)
        )
        baseline, candidate = self._of_usual_attackers(baseline, candidate)
        if archives:
            self.notes[_named(archives, " of archives of others", "is not gated", "are not gated")] = None
        before, after = _by_place(baseline, "baseline"), _by_place(candidate, "candidate")
        self.trouble += [*_vintages(baseline, "baseline"), *_vintages(candidate, "candidate")]
        for place, old in before.items():
            if not isinstance(old.outcome, Skipped):
                why = [
                    f"blocked in the {side}: {found[place[:3]]}"
                    for side, found in blocked.items()
                    if place[:3] in found
                ]
                self.add(place, old, after.get(place), "; ".join(why))
        if not self.rows:
            self.trouble.append("the baseline has no cell to hold: run it first")
        extra = [place for place, new in after.items() if place not in before and not isinstance(new.outcome, Skipped)]
        # A new defense or attack is no regression, but it must not look gated.
        if extra:
            titles = [after[place].cell.title for place in extra]
            verbs = ("has no baseline and is not gated", "have no baseline and are not gated")
            self.notes[_named(titles, " of the candidate", *verbs)] = None

    def _of_usual_attackers(self, *sides: Sequence[Result]) -> list[list[Result]]:
        """Return the cells of each side without those of attackers who knew the draws of the evaluation."""
        informed = [each.cell.title for side in sides for each in side if each.cell.attack.known_draws]
        if informed:
            self.notes[_named(informed, " whose draws were known", "is not gated", "are not gated")] = None
        return [[each for each in side if not each.cell.attack.known_draws] for side in sides]

    def require_finished(self, candidate: Sequence[Result]) -> None:
        """Count cells of the candidate that failed or are missing as absent, unless a row says so already."""
        told = {(row.title, row.dataset) for row in self.rows if row.verdict != "ok"}
        blocked = _blocked(candidate)
        for result in candidate:
            part, title = result.cell.slice, result.cell.title
            if isinstance(result.outcome, Done | Skipped) or (title, part.dataset) in told:
                continue
            message = blocked.get((part.dataset, part.split, result.cell.defense.label))
            why = f"blocked in the candidate: {message}" if message else _unfinished("candidate", result.outcome)
            self.absent.append(f"{title}: {why}")
            self.rows.append(GateRow(title, "absent", reason=why, dataset=part.dataset))

    def add(self, place: Place, old: Result, new: Result | None, blocked: str = "") -> None:
        title, dataset = old.cell.title, old.cell.slice.dataset
        differences = [*_differences(old.cell, new.cell), *_lost(old, new)] if new else []
        if differences:
            why = ", ".join(differences)
            self.trouble.append(f"{title}: {why}")
            self.rows.append(GateRow(title, "not comparable", reason=why, dataset=dataset))
        elif new and isinstance(old.outcome, Done) and isinstance(new.outcome, Done) and not blocked:
            pairs = pairs_of(old.cell.slice, new.cell.slice)
            was, now = only(old.outcome.verdicts, pairs[0]), only(new.outcome.verdicts, pairs[1])
            # Paired images only: a longer slice on one side must not shift the mean.
            if len(was) < max(old.cell.slice.n, new.cell.slice.n):
                self.notes[f"only the {len(was)} images both sides have are compared"] = None
            self._compare(place[:3], old.cell, new.cell, was, now)
        else:
            # A number that a check keeps off the leaderboard proves nothing here either.
            why = blocked or _why_absent(old, new)
            self.absent.append(f"{title}: {why}")
            self.rows.append(GateRow(title, "absent", reason=why, dataset=dataset))

    def _compare(self, owner: tuple[str, ...], cell: Cell, new_cell: Cell, old: Verdicts, new: Verdicts) -> None:
        if owner not in self.clean:  # the clean verdicts are the same in all cells of a defense
            self.clean.add(owner)
            self._test(f"{cell.defense.label}, standard accuracy", cell, old.clean, new.clean)
        self._test(cell.title, cell, old.adversarial, new.adversarial, self.seconds(new_cell))
        if cell.attack.digest != new_cell.attack.digest:
            note = f"{cell.attack.label} is another version than the baseline's: a drop may come from the attack"
            self.notes[note] = None

    def _test(self, title: str, cell: Cell, old: Counts, new: Counts, seconds: float = 0.0) -> None:
        row = _tested(title, old, new, cell.draws)
        self.rows.append(replace(row, dataset=cell.slice.dataset, seconds=seconds))


def _named(titles: Sequence[str], which: str, one: str, several: str) -> str:
    """Return a note on some cells that names the first of them; a title of two sides is that of one cell."""
    titles = list(dict.fromkeys(titles))
    named = ", ".join(titles[:_NAMED]) + (f" and {len(titles) - _NAMED} more" if len(titles) > _NAMED else "")
    return f"{len(titles)} cell{'' if len(titles) == 1 else 's'}{which} {one if len(titles) == 1 else several}: {named}"


def _by_place(results: Sequence[Result], side: str) -> dict[Place, Result]:
    places: dict[Place, Result] = {}
    for result in results:
        cell = result.cell
        place = (cell.slice.dataset, cell.slice.split, cell.defense.label, cell.attack.label, str(cell.threat))
        if place in places:
            raise BenchError(
                f"the {side} holds two results for {cell.title}: keep each n and each seed in a folder of its own"
            )
        places[place] = result
    return places


def _vintages(results: Sequence[Result], side: str) -> list[str]:
    """Return a message for each label whose cells are of different defenses or protocols of the harness.

    That happens when weights changed and only some cells were run again: the other cells would then pass for the
    new defense.
    """
    made: dict[tuple[str, str, str], dict[tuple[str, str], list[str]]] = {}
    for result in results:
        cell = result.cell
        if not isinstance(result.outcome, Skipped):
            owner = (cell.slice.dataset, cell.slice.split, cell.defense.label)
            made.setdefault(owner, {}).setdefault((cell.defense.digest, cell.protocol), []).append(cell.attack.label)
    return [
        f"the {side} holds {len(vintages)} different defenses called {label!r} ("
        + "; ".join(
            f"{digest[:8]}{f' by protocol {protocol}' if len({one for _, one in vintages}) > 1 else ''}: "
            + ", ".join(dict.fromkeys(attacks))
            for (digest, protocol), attacks in vintages.items()
        )
        + "): run all of its attacks again"
        for (_, _, label), vintages in made.items()
        if len(vintages) > 1
    ]


def _blocked(results: Sequence[Result]) -> dict[Owner, str]:
    """Return, for each defense that a check blocks, the message of the check."""
    found: dict[Owner, str] = {}
    for result in results:
        part = result.cell.slice
        for finding in result.findings if result.blocked else ():
            if finding.verdict == "block":
                found.setdefault((part.dataset, part.split, result.cell.defense.label), finding.message)
    return found


def _flagged(results: Sequence[Result]) -> list[str]:
    """Return a note for each defense of the candidate with a number that a check flags."""
    flags: dict[str, set[str]] = {}
    for result in results:
        for finding in result.findings:
            if finding.verdict == "flag" and finding.concerns(result.cell.attack.label):
                flags.setdefault(result.cell.defense.label, set()).add(finding.id)
    return [
        f"numbers of {label} are flagged by {', '.join(sorted(ids))}: 'bench table --checks' says why"
        for label, ids in flags.items()
    ]


def _standings(results: Sequence[Result]) -> tuple[Standing, ...]:
    found = []
    for row in defense_rows(results):
        # With the archives of others: a badge is read as the lowest number that is known.
        score = row.lowest(row.judges[0])
        hidden = bool(row.blocks) or score.accuracy is None
        value = None if hidden or score.accuracy is None else score.accuracy.value
        found.append(Standing(row.defense.label, value, score.state != "done"))
    return tuple(found)


def _differences(old: Cell, new: Cell) -> list[str]:
    """Return what makes two cells incomparable; another version of the defense or attack does not."""
    facts: dict[str, tuple[Any, Any]] = {"draws": (old.draws, new.draws), "seed": (old.seed, new.seed)}
    # Another format flips examples at the boundary in both directions, which is neither better nor worse.
    facts["searched in"] = (old.searched_in, new.searched_in)
    # An attack with other parameters is another attack, whatever its label.
    facts |= _paired(old.attack.config, new.attack.config)
    differences = [f"{name} {was} -> {now}" for name, (was, now) in facts.items() if was != now]
    if not len(pairs_of(old.slice, new.slice)[0]):
        digests = f"digest {old.slice.digest[:12]} -> {new.slice.digest[:12]}"
        differences.append(f"no image in common: n {old.slice.n} -> {new.slice.n}, {digests}")
    return differences


def _lost(old: Result, new: Result) -> list[str]:
    """Return the parts of an attack that found no gradient on one side only: the other side met a stronger attack."""
    if not isinstance(old.outcome, Done) or not isinstance(new.outcome, Done):
        return []
    was, now = (", ".join(sorted(each.evidence.unable)) or "none" for each in (old.outcome, new.outcome))
    return [] if was == now else [f"parts of the attack without a gradient {was} -> {now}"]


def _paired(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {f"attack.{key}": (old.get(key, "unset"), new.get(key, "unset")) for key in sorted({*old, *new})}


def _why_absent(old: Result, new: Result | None) -> str:
    sides = (("baseline", old.outcome), ("candidate", new.outcome if new else None))
    return _unfinished(*next((side, outcome) for side, outcome in sides if not isinstance(outcome, Done)))


def _unfinished(side: str, outcome: Outcome | None) -> str:
    match outcome:
        case Failed(error=error):
            return f"failed in the {side}: {' '.join(error.split())}"
        case Skipped(reason=reason):
            return f"skipped in the {side}: {reason}"
    return f"missing in the {side}"


def _tested(title: str, old: Counts, new: Counts, draws: int) -> GateRow:
    differences = old.astype(np.int64) - new.astype(np.int64)
    shares = differences / draws
    # Changes that cancel out are noise; what is left on one side is the drop itself.
    noise = 2 * min(float(np.square(shares[shares > 0]).sum()), float(np.square(shares[shares < 0]).sum()))
    return GateRow(
        title,
        "ok",
        len(old),
        float(old.mean()) / draws,
        float(new.mean()) / draws,
        float(shares.mean()),
        sign_flip(differences),
        noise=noise / len(old),
        rise=sign_flip(-differences),
    )


def _judged(rows: Sequence[GateRow], alpha: float, min_effect: float) -> tuple[GateRow, ...]:
    tested = [row for row in rows if row.baseline is not None]
    # Two families: what is found to be better must not make it harder to find what is worse.
    fallen, risen = iter(holm([row.p for row in tested])), iter(holm([row.rise for row in tested]))
    judged = []
    for row in rows:
        if row.baseline is not None:
            p, rise = next(fallen), next(risen)
            # A change of exactly min_effect counts, whatever its rounding.
            fell, rose = (
                q <= alpha and change >= min_effect - 1e-12 for q, change in ((p, row.drop), (rise, -row.drop))
            )
            verdict: Verdict = "regression" if fell else "improvement" if rose else "ok"
            row = replace(row, adjusted=p, rise=rise, verdict=verdict)
        judged.append(row)
    return tuple(judged)


def _detectable(rows: Sequence[GateRow], alpha: float, min_effect: float) -> float:
    tested = [row for row in rows if row.baseline is not None]
    # Bonferroni's level: Holm's is never stricter, so the promise holds for every cell.
    level = alpha / max(1, len(tested))
    drops = [smallest_detectable_drop(row.n, level, POWER, noise=row.noise, min_effect=min_effect) for row in tested]
    return max(drops, default=1.0)
