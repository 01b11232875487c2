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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.imported import ACCESS
from bench.errors import BenchError
from bench.report.gate_report import POWER, GateReport, GateRow
from bench.results.cell import Cell, Result
from bench.results.outcome import Done, Failed, Skipped, Verdicts
from bench.results.pairing import only, pairs_of
from bench.results.stats import holm, sign_flip, smallest_detectable_drop

Counts = NDArray[np.uint8]
Place = tuple[str, str, str, str, str]


def compare(
    baseline: Sequence[Result],
    candidate: Sequence[Result],
    *,
    alpha: float = 0.01,
    min_effect: float = 0.01,
    must_detect: float = 0.15,
    allow_underpowered: bool = False,
) -> GateReport:
    """Compare two runs cell by cell.

    Args:
        baseline: the results to compare with; skipped cells are ignored, every other one is gated.
        candidate: the results that are tested; cells the baseline lacks are not gated.
        alpha: chance of a false alarm per run, in (0, 1).
        min_effect: smallest drop of accuracy worth failing for, in [0, 1].
        must_detect: the drop that must be caught with 80 % chance, in (0, 1].
        allow_underpowered: exit 0 instead of 4 if it would not be caught.
    """
    for name, value in (("alpha", alpha), ("min_effect", min_effect), ("must_detect", must_detect)):
        if not 0 <= value <= 1 or (name != "min_effect" and value == 0) or (name == "alpha" and value == 1):
            raise BenchError(f"{name}={value} is out of range: write a share such as 0.01 (1 % or 1 point)")
    archives = sum(each.cell.attack.access == ACCESS for each in (*baseline, *candidate))
    # Made against one set of weights, so that they say nothing of another; no run could compute them again.
    baseline, candidate = (
        [each for each in side if each.cell.attack.access != ACCESS] for side in (baseline, candidate)
    )
    before, after = _by_place(baseline, "baseline"), _by_place(candidate, "candidate")
    findings = _Findings(trouble=[*_vintages(baseline, "baseline"), *_vintages(candidate, "candidate")])
    for place, old in before.items():
        if not isinstance(old.outcome, Skipped):
            findings.add(place, old, after.get(place))
    if archives:
        findings.notes[f"{archives} cells of archives of others are not gated"] = None
    if not findings.rows:
        findings.trouble.append("the baseline has no cell to hold: run it first")
    extra = [place for place, new in after.items() if place not in before and not isinstance(new.outcome, Skipped)]
    # A new defense or attack is no regression, but it must not look gated.
    if extra:
        findings.notes[f"{len(extra)} cells of the candidate have no baseline and are not gated"] = None
    rows = _judged(findings.rows, alpha, min_effect)
    return GateReport(
        rows,
        tuple(findings.trouble),
        tuple(findings.absent),
        tuple(findings.notes),
        _detectable(rows, alpha, min_effect),
        must_detect,
        allow_underpowered,
    )


@dataclass
class _Findings:
    """The rows and remarks of all pairs of cells, before Holm's correction."""

    rows: list[GateRow] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    clean: set[tuple[str, ...]] = field(default_factory=set)

    def add(self, place: Place, old: Result, new: Result | None) -> None:
        title = old.cell.title
        differences = _differences(old.cell, new.cell) if new else []
        if differences:
            self.trouble.append(f"{title}: {', '.join(differences)}")
            self.rows.append(GateRow(title, "not comparable"))
        elif new and isinstance(old.outcome, Done) and isinstance(new.outcome, Done):
            pairs = pairs_of(old.cell.slice, new.cell.slice)
            was, now = only(old.outcome.verdicts, pairs[0]), only(new.outcome.verdicts, pairs[1])
            # Paired images only: a longer slice on one side must not shift the mean.
            if len(was) < max(old.cell.slice.n, new.cell.slice.n):
                self.notes[f"only the {len(was)} images both sides have are compared"] = None
            self._compare(place[:3], old.cell, new.cell, was, now)
        else:
            self.absent.append(f"{title}: {_why_absent(old, new)}")
            self.rows.append(GateRow(title, "absent"))

    def _compare(self, owner: tuple[str, ...], cell: Cell, new_cell: Cell, old: Verdicts, new: Verdicts) -> None:
        if owner not in self.clean:  # the clean verdicts are the same in all cells of a defense
            self.clean.add(owner)
            self.rows.append(_test(f"{cell.defense.label}, standard accuracy", old.clean, new.clean, cell.draws))
        self.rows.append(_test(cell.title, old.adversarial, new.adversarial, cell.draws))
        if cell.attack.digest != new_cell.attack.digest:
            note = f"{cell.attack.label} is another version than the baseline's: a drop may come from the attack"
            self.notes[note] = None


def _by_place(results: Sequence[Result], side: str) -> dict[Place, Result]:
    places: dict[Place, Result] = {}
    for result in results:
        cell = result.cell
        place = (cell.slice.dataset, cell.slice.split, cell.defense.label, cell.attack.label, str(cell.threat))
        if place in places:
            raise BenchError(f"the {side} holds two results for {cell.title}: gate one n and one seed at a time")
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


def _paired(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {f"attack.{key}": (old.get(key, "unset"), new.get(key, "unset")) for key in sorted({*old, *new})}


def _why_absent(old: Result, new: Result | None) -> str:
    sides = (("baseline", old.outcome), ("candidate", new.outcome if new else None))
    side, outcome = next((side, outcome) for side, outcome in sides if not isinstance(outcome, Done))
    match outcome:
        case Failed(error=error):
            return f"failed in the {side}: {' '.join(error.split())}"
        case Skipped(reason=reason):
            return f"skipped in the {side}: {reason}"
    return f"missing in the {side}"


def _test(title: str, old: Counts, new: Counts, draws: int) -> GateRow:
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
    )


def _judged(rows: Sequence[GateRow], alpha: float, min_effect: float) -> tuple[GateRow, ...]:
    adjusted = iter(holm([row.p for row in rows if row.baseline is not None]))
    judged = []
    for row in rows:
        if row.baseline is not None:
            p = next(adjusted)
            # A drop of exactly min_effect counts, whatever its rounding.
            fell = p <= alpha and row.drop >= min_effect - 1e-12
            row = replace(row, adjusted=p, verdict="regression" if fell else "ok")
        judged.append(row)
    return tuple(judged)


def _detectable(rows: Sequence[GateRow], alpha: float, min_effect: float) -> float:
    tested = [row for row in rows if row.baseline is not None]
    # Bonferroni's level: Holm's is never stricter, so the promise holds for every cell.
    level = alpha / max(1, len(tested))
    drops = [smallest_detectable_drop(row.n, level, POWER, noise=row.noise, min_effect=min_effect) for row in tested]
    return max(drops, default=1.0)
