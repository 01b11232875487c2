"""The comparison of two defenses as a table and as plain data, and what so many images resolve at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.report.plain import flat
from bench.report.render import ALARM, BOUND, Table, TableCell, render
from bench.results.cell import Result
from bench.results.comparison import POWER, Difference, differences, row_of
from bench.results.ranking import ALPHA
from bench.results.stats import smallest_detectable_drop

_ABOUT = (
    "A - B in points, with the 95 % interval of Agresti and Min for paired differences: sampling of images only.",
    "p: exact paired test, two-sided: McNemar's for verdicts, the sign-flip test for counts of draws; adjusted by Holm "
    f"over all rows. A verdict needs an adjusted p of at most {ALPHA}; resolved: the difference that would be found in "
    f"{POWER:.0%} of all such samples.".replace("%", " %"),
)
_ABOUT_ONLY = "only A, only B: images that one gets right and the other does not; for deterministic defenses."
_ABOUT_WORST = (
    "worst cases are over the attacks that both were asked for; seen and unseen are the threats that both have seen, "
    "and that neither has."
)
_CAPTION = ("Accuracies of A and B in percent, and their difference in points.", "comparison")
_ABOUT_DRAWS = "A stochastic defense enters with its mean over draws."
_ABOUT_BOUND = (
    f"{BOUND} an upper bound: cells of this worst case failed, are missing or found no gradient; "
    "it cannot be the better one."
)
_ABOUT_ALARM = f"{ALARM} a check flags the number: bench table --checks"


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two defenses, compared in every number that both have.

    Attributes:
        a: the label of the first defense.
        b: of the second; if both are the same, B is the one of the other folder.
        rows: standard accuracy, attacks, worst cases.
        notes: what is left out, and why.
        stochastic: whether one of them is.
    """

    a: str
    b: str
    rows: tuple[Difference, ...]
    notes: tuple[str, ...]
    stochastic: bool

    def __repr__(self) -> str:
        return self.table()

    def table(self, style: str = "screen", *, width: int | None = None) -> str:
        """Return the comparison as text: `screen`, `grid`, `markdown`, `latex` or `html`."""
        return render(self._table(), style, width)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data; accuracies and differences are shares in [0, 1], or in [-1, 1]."""
        rows = [
            {**asdict(row), "difference": row.difference, "low": row.interval.low, "high": row.interval.high}
            for row in self.rows
        ]
        kept = [{name: value for name, value in row.items() if name not in ("interval", "noise")} for row in rows]
        return {"a": self.a, "b": self.b, "rows": kept, "notes": list(self.notes)}

    def _table(self) -> Table:
        # Only verdicts have them: a table of counts of draws would have two empty columns.
        only = any(count is not None for row in self.rows for count in (row.only_a, row.only_b))
        header = (
            ("",),
            ("A",),
            ("B",),
            ("A - B",),
            ("p",),
            ("adjusted", "p"),
            *((("only", "A"), ("only", "B")) if only else ()),
            ("better",),
        )
        marks = {"bounds": any(row.bounds for row in self.rows), "flags": any(row.flagged for row in self.rows)}
        again = " of the other folder" if self.a == self.b else ""
        sizes = sorted({row.n for row in self.rows})
        notes = [
            *_ABOUT,
            *([_ABOUT_ONLY] if only else []),
            *([_ABOUT_WORST] if any("worst" in row.name for row in self.rows) else []),
        ]
        notes += [_ABOUT_DRAWS] if self.stochastic else []
        notes += [_ABOUT_BOUND] if marks["bounds"] else []
        notes += [_ABOUT_ALARM] if marks["flags"] else []
        title = f"A: {flat(self.a)}, B: {flat(self.b)}{again}; n={' or '.join(map(str, sizes))}"
        rows = tuple(_row(row, only=only) for row in self.rows)
        return Table(title, header, rows, (*notes, *map(flat, self.notes)), caption=_CAPTION)


def compare(a: Sequence[Result], label_a: str, b: Sequence[Result], label_b: str) -> Comparison:
    """Compare a defense with another one of the same results, or with that of other results.

    Raises:
        BenchError: there is no such defense, a check blocks it, or they have no image in common.
    """
    one, other = row_of(a, label_a), row_of(b, label_b)
    rows, notes = differences(one, other)
    return Comparison(label_a, label_b, tuple(rows), tuple(notes), stochastic=max(one.draws, other.draws) > 1)


def _row(row: Difference, *, only: bool) -> tuple[TableCell, ...]:
    low, high = (100 * end for end in row.interval)
    accuracies = [
        TableCell(f"{100 * value:.1f}", bound=side in row.bounds, alarmed=side in row.flagged)
        for side, value in (("A", row.a), ("B", row.b))
    ]
    counts = (row.only_a, row.only_b) if only else ()
    return (
        TableCell(flat(row.name), f"({row.threat})" if row.threat else ""),
        *accuracies,
        TableCell(f"{100 * row.difference:+.1f}", f"[{low:+.1f}, {high:+.1f}]"),
        TableCell(f"{row.p:.2g}"),
        TableCell(f"{row.adjusted:.2g}"),
        *(TableCell("" if count is None else str(count)) for count in counts),
        _verdict(row),
    )


def _verdict(row: Difference) -> TableCell:
    if row.better != "not separated":
        return TableCell(row.better)
    resolved = "(no difference is resolved)" if row.smallest >= 1 else f"(resolved: {100 * row.smallest:.1f} points)"
    return TableCell("not separated", resolved)


def resolution(n: int) -> str:
    """Return what a paired comparison of two defenses on `n` images can show at best."""
    smallest = smallest_detectable_drop(n, ALPHA / 2, POWER)
    if smallest >= 1:
        return f"n={n}: too few images to separate any two defenses (paired test, alpha {ALPHA})"
    return (
        f"n={n}: a paired comparison resolves differences of {100 * smallest:.1f} points at best ({POWER:.0%} power, "
        f"alpha {ALPHA}), and larger ones where images change sides both ways: bench compare A B"
    ).replace("80%", "80 %")
