"""The report of a gate: its rows, its exit status and the lines that say both."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "regression", "absent", "not comparable"]

# The chance with which a drop that is called detectable is caught.
POWER = 0.8


@dataclass(frozen=True)
class GateRow:
    """One gated number: a cell, or the standard accuracy of a defense.

    Attributes:
        title: `at x pgd-20 (Linf:0.2)` or `at, standard accuracy`.
        verdict: the gate's verdict; only `ok` and `regression` have the numbers below.
        n: paired examples.
        baseline: mean accuracy in [0, 1].
        candidate: mean accuracy in [0, 1].
        drop: baseline minus candidate.
        p: one-sided exact paired p-value.
        adjusted: the p-value, Holm-adjusted over all rows that have one.
        noise: variance per example of the changes that cancel out.
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

    @property
    def line(self) -> str:
        """Return the change as `54.7 % -> 42.2 %`, with the drop in points and the adjusted p-value."""
        if self.baseline is None or self.candidate is None:
            return f"{self.title}: {self.verdict}"
        change = f"{100 * self.baseline:.1f} % -> {100 * self.candidate:.1f} %"
        return f"{self.title}: {change} (drop {100 * self.drop:.1f} points, adjusted p = {self.adjusted:.2g})"


@dataclass(frozen=True, repr=False)
class GateReport:
    """The report of a gate.

    Attributes:
        rows: every baseline cell that was not skipped, and the standard accuracies.
        not_comparable: reasons why pairs, or the whole comparison, mean nothing.
        absent: cells without a verdict on one side; never dropped in silence.
        notes: remarks that change no verdict.
        detectable: the smallest drop, in [0, 1], that would be caught with 80 % chance in every cell.
        must_detect: the drop the gate had to be able to catch.
        allow_underpowered: whether a gate that cannot catch it is still green.
    """

    rows: tuple[GateRow, ...]
    not_comparable: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    detectable: float = 1.0
    must_detect: float = 0.15
    allow_underpowered: bool = False

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
    def underpowered(self) -> bool:
        return self.detectable > self.must_detect

    @property
    def exit_code(self) -> int:
        """Return 2 if not comparable, 3 if cells failed or are missing, 1 for a regression, 4 if underpowered, or 0."""
        if self.not_comparable:
            # Refusals first: a comparison that means nothing must not report a regression.
            return 2
        if self.absent:
            return 3
        if self.regressions:
            return 1
        return 4 if self.underpowered and not self.allow_underpowered else 0

    @property
    def lines(self) -> list[str]:
        """Return lines to print: the trouble first, then the sensitivity, the conclusion last."""
        lines = [f"not comparable: {why}" for why in self.not_comparable]
        lines += [f"absent: {why}" for why in self.absent]
        lines += [f"REGRESSION {row.line}" for row in self.regressions]
        lines += [f"note: {note}" for note in self.notes]
        if self.gated:
            lines.append(self._sensitivity())
        return [*lines, self._conclusion()]

    def to_json(self) -> dict[str, Any]:
        """Return everything that is printed as plain data; accuracies and drops are shares in [0, 1]."""
        return {
            **asdict(self),
            "underpowered": self.underpowered,
            "exit_code": self.exit_code,
            "conclusion": self._conclusion(),
        }

    def _sensitivity(self) -> str:
        sizes = sorted({row.n for row in self.gated})
        n = f"n={sizes[0]}" if len(sizes) == 1 else f"n={sizes[0]} to {sizes[-1]}"
        cells = f"{len(self.gated)} cell{'s' if len(self.gated) > 1 else ''}"
        if self.detectable == 1:
            return f"{n}, {cells}: no drop would be caught {POWER:.0%} of the time".replace("%", " %")
        return f"{n}, {cells}: drops of {100 * self.detectable:.1f} points or more would be caught 80 % of the time"

    def _conclusion(self) -> str:
        if self.not_comparable:
            return "gate: refused, baseline and candidate are not comparable"
        if self.absent:
            return "gate: refused, cells failed or are missing"
        if self.regressions:
            return f"gate: {len(self.regressions)} of {len(self.gated)} cells regressed"
        if self.underpowered:
            hope = "allowed" if self.allow_underpowered else "raise n or must_detect, or allow an underpowered gate"
            return f"gate: UNDERPOWERED, a drop of {100 * self.must_detect:.1f} points could pass unseen: {hope}"
        return f"gate: no regression in {len(self.gated)} cells"
