"""The report of a gate: its rows and floors, its exit status and the lines that say both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.report.plain import flat

Verdict = Literal["ok", "improvement", "regression", "absent", "not comparable"]
Held = Literal["ok", "below", "absent"]

# The chance with which a drop that is called detectable is caught.
POWER = 0.8


@dataclass(frozen=True)
class GateRow:
    """One gated number: a cell, or the standard accuracy of a defense.

    Attributes:
        title: `at x pgd-20 (Linf:0.2)` or `at, standard accuracy`.
        verdict: the gate's verdict; `absent` and `not comparable` have none of the numbers below.
        n: paired examples.
        baseline: mean accuracy in [0, 1].
        candidate: mean accuracy in [0, 1].
        drop: baseline minus candidate.
        p: one-sided exact paired p-value of a drop.
        adjusted: the p-value, Holm-adjusted over all rows that have one.
        noise: variance per example of the changes that cancel out.
        rise: the adjusted p-value of the same test the other way: is the candidate better? It decides about
            `improvement` and nothing else.
        reason: why there are no numbers.
        dataset: that the images are from.
        seconds: that measuring the candidate's cell took; 0 if not known.
    """

    title: str
    verdict: Verdict
    n: int = 0
    baseline: float | None = None
    candidate: float | None = None
    drop: float = 0.0
    p: float = 1.0
    adjusted: float = 1.0
    noise: float = 0.0
    rise: float = 1.0
    reason: str = ""
    dataset: str = ""
    seconds: float = 0.0

    @property
    def change(self) -> str:
        """Return how many points the candidate is above (+) or below (-) the baseline."""
        points = f"{-100 * self.drop:+.1f}"
        return "0.0" if points in ("-0.0", "+0.0") else points

    @property
    def line(self) -> str:
        """Return the change as `54.7 % -> 42.2 %`, with the drop in points and the adjusted p-value."""
        if self.baseline is None or self.candidate is None:
            return f"{self.title}: {self.verdict}"
        change = f"{100 * self.baseline:.1f} % -> {100 * self.candidate:.1f} %"
        if self.verdict == "improvement":
            return f"{self.title}: {change} (rise {-100 * self.drop:.1f} points, adjusted p = {self.rise:.2g})"
        return f"{self.title}: {change} (drop {100 * self.drop:.1f} points, adjusted p = {self.adjusted:.2g})"


@dataclass(frozen=True)
class FloorRow:
    """An accuracy that was promised not to fall below a floor.

    Attributes:
        title: as it was asked for, with the threat model: `at/pgd-20 (Linf:0.2)`.
        verdict: `below` if the observed accuracy is less than the floor; `absent` if there is no accuracy.
        floor: in [0, 1].
        n: examples.
        accuracy: the observed one, in [0, 1], by the headline judge of the defense; `None` if absent.
        low: end of the Wilson 95 % interval of the accuracy.
        high: the other end.
        judged: name of the judge: `deterministic`, `mean-of-10`.
        reason: why there is no accuracy.
        dataset: that the images are from.
    """

    title: str
    verdict: Held
    floor: float
    n: int = 0
    accuracy: float | None = None
    low: float = 0.0
    high: float = 1.0
    judged: str = ""
    reason: str = ""
    dataset: str = ""

    @property
    def contained(self) -> bool:
        """Return whether the interval contains the floor: then other images might have decided otherwise."""
        return self.accuracy is not None and self.low <= self.floor <= self.high

    @property
    def line(self) -> str:
        """Return the accuracy beside the floor, and whether the interval contains the floor."""
        if self.accuracy is None:
            return f"{self.title}: no accuracy to hold to the floor of {100 * self.floor:.1f} %: {self.reason}"
        sign = "<" if self.verdict == "below" else ">="
        apart = "contains" if self.contained else "does not contain"
        interval = f"95 % interval [{100 * self.low:.1f}, {100 * self.high:.1f}] {apart} the floor"
        return f"{self.title}: {100 * self.accuracy:.1f} % {sign} {100 * self.floor:.1f} % (n={self.n}, {interval})"


@dataclass(frozen=True)
class Standing:
    """The worst case of a candidate's defense over all of its attacks and the archives of others, as a badge quotes it.

    Attributes:
        defense: its label.
        accuracy: in [0, 1]; `None` if a check blocks the defense or no attack is finished.
        bound: whether it is only an upper bound, because attacks failed, are missing or found no gradient.
    """

    defense: str
    accuracy: float | None
    bound: bool = False


@dataclass(frozen=True, repr=False)
class GateReport:
    """The report of a gate.

    Attributes:
        rows: every baseline cell that was not skipped, and the standard accuracies.
        not_comparable: reasons why pairs, or the whole comparison, mean nothing.
        absent: cells and floors without a verdict on one side; never dropped in silence.
        notes: remarks that change no verdict.
        detectable: the smallest drop, in [0, 1], that would be caught with 80 % chance in every cell.
        must_detect: the drop the gate had to be able to catch.
        allow_underpowered: whether a gate that cannot catch it is still green.
        floors: every floor that was asked for.
        standings: the worst case of each defense of the candidate.
        alpha: chance of a false alarm, for the whole gate.
        min_effect: the smallest drop that can fail.
        mistake: the mistake in the request that kept anything from being compared; then all else is empty.
    """

    rows: tuple[GateRow, ...]
    not_comparable: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    detectable: float = 1.0
    must_detect: float = 0.15
    allow_underpowered: bool = False
    floors: tuple[FloorRow, ...] = ()
    standings: tuple[Standing, ...] = ()
    alpha: float = 0.01
    min_effect: float = 0.01
    mistake: str = ""

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    @property
    def gated(self) -> list[GateRow]:
        """Return the rows that were tested."""
        return [row for row in self.rows if row.baseline is not None]

    @property
    def regressions(self) -> list[GateRow]:
        return [row for row in self.rows if row.verdict == "regression"]

    @property
    def improvements(self) -> list[GateRow]:
        return [row for row in self.rows if row.verdict == "improvement"]

    @property
    def broken(self) -> list[FloorRow]:
        """Return the floors that the candidate is below."""
        return [row for row in self.floors if row.verdict == "below"]

    @property
    def underpowered(self) -> bool:
        # Floors alone compare nothing, so there is no drop to be seen.
        return bool(self.rows or not self.floors) and self.detectable > self.must_detect

    @property
    def exit_code(self) -> int:
        """Return 2 if not comparable, 3 if cells failed or are missing, 1 for a regression, 4 if underpowered, or 0.

        A broken floor is 1, too.
        """
        if self.not_comparable:
            # Refusals first: a comparison that means nothing must not report a regression.
            return 2
        if self.absent:
            return 3
        if self.regressions or self.broken:
            return 1
        return 4 if self.underpowered and not self.allow_underpowered else 0

    @property
    def trouble(self) -> list[str]:
        """Return a line for each refusal, regression and broken floor."""
        lines = [f"not comparable: {why}" for why in self.not_comparable]
        lines += [f"absent: {why}" for why in self.absent]
        lines += [f"REGRESSION {row.line}" for row in self.regressions]
        return [*lines, *(f"BELOW THE FLOOR {row.line}" for row in self.broken)]

    @property
    def lines(self) -> list[str]:
        """Return lines to print: the trouble first, then the sensitivity, the conclusion last."""
        lines = [*self.trouble, *(f"improvement {row.line}" for row in self.improvements)]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"floor {row.line}" for row in self.floors if row.verdict == "ok"]
        if self.gated:
            lines.append(self.sensitivity)
        return [*lines, self.conclusion]

    @property
    def sensitivity(self) -> str:
        """Return how small a drop would have been seen; empty if nothing was compared."""
        if not self.gated:
            return ""
        sizes = sorted({row.n for row in self.gated})
        n = f"n={sizes[0]}" if len(sizes) == 1 else f"n={sizes[0]} to {sizes[-1]}"
        cells = f"{len(self.gated)} cell{'s' if len(self.gated) > 1 else ''}"
        if self.detectable == 1:
            return f"{n}, {cells}: no drop would be caught {POWER:.0%} of the time".replace("%", " %")
        return f"{n}, {cells}: drops of {100 * self.detectable:.1f} points or more would be caught 80 % of the time"

    @property
    def conclusion(self) -> str:
        """Return the line that the exit status stands for."""
        if self.mistake:
            return "gate: could not be compared"
        if self.not_comparable:
            return "gate: refused, baseline and candidate are not comparable"
        if self.absent:
            return "gate: refused, cells failed or are missing"
        if self.regressions or self.broken:
            parts = [f"{len(self.regressions)} of {len(self.gated)} cells regressed"] if self.gated else []
            parts += [f"{len(self.broken)} of {_counted(self.floors)} broken"] if self.floors else []
            return f"gate: {', '.join(parts)}"
        if self.underpowered:
            hope = "allowed" if self.allow_underpowered else "raise n or must_detect, or allow an underpowered gate"
            return f"gate: UNDERPOWERED, a drop of {100 * self.must_detect:.1f} points could pass unseen: {hope}"
        parts = [f"no regression in {len(self.gated)} cells"] if self.rows else []
        parts += [f"{_counted(self.floors)} held"] if self.floors else []
        return f"gate: {', '.join(parts)}{self._better}"

    @property
    def _better(self) -> str:
        """Return the advice to hold a defense to what it reached; none beside trouble, which would be held to, too."""
        count = len(self.improvements)
        return f"; {count} improved: raise the baseline with 'bench baseline update'" if count else ""

    def to_json(self) -> dict[str, Any]:
        """Return everything that is printed as plain data; accuracies and drops are shares in [0, 1]."""
        return {
            **asdict(self),
            "underpowered": self.underpowered,
            "exit_code": self.exit_code,
            "conclusion": self.conclusion,
        }


def mistaken(message: str) -> GateReport:
    """Return the report of a request with a mistake, so that an old report does not stay: nothing was compared."""
    message = flat(message)
    return GateReport((), (message,), mistake=message)


def _counted(floors: Sequence[FloorRow]) -> str:
    return f"{len(floors)} floor{'s' if len(floors) > 1 else ''}"
