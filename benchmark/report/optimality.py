"""The comparison of attacks as tables and as plain data: who comes how near the envelope of all, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.report.plain import flat
from bench.report.render import ALARM, BOUND, Table, TableCell, render
from bench.results.cell import Result
from bench.results.optimality import Standing, by_group, overall, standings

_ABOUT = (
    "optimality (AttackBench, arXiv 2404.19460): of what the attacks here take from the accuracy together, image by "
    "image, the share that this one takes; for a deterministic defense, of the images that any of them breaks.",
    "alone: by how many points the worst case over these attacks would rise without this one.",
    "passes: forwards+backwards per image, draws included.",
)
_ABOUT_AREA = (
    "area: the same of the area under the curve of accuracy against eps, from distances, or at the sizes that all "
    "sweeps have."
)
_ABOUT_DRAWS = (
    "Of a stochastic defense, correct draws count instead of images. The smallest of several noisy counts is the best "
    "attack's only by luck, so even the best attack stays below 100."
)
_ABOUT_GLOBAL = "all defenses: the mean over them, of attacks that have a number on each."
_ABOUT_BOUND = f"{BOUND} an upper bound: attacks failed or are missing, or parts of them found no gradient."
_ABOUT_ALARM = f"{ALARM} a check flags the number: bench table --checks"
_CAPTION = ("Robust accuracy under each attack, and the attack's optimality, in percent.", "attacks")
_STATES = {"failed": "FAIL", "missing": "...", "blocked": "BLOCK"}


@dataclass(frozen=True, repr=False)
class AttackComparison:
    """The attacks on each defense, each beside the envelope of all that were run under its threat model.

    Attributes:
        rows: by defense and threat model, the strongest attack first.
    """

    rows: tuple[Standing, ...]

    def __repr__(self) -> str:
        return self.table()

    def table(self, style: str = "screen", *, width: int | None = None) -> str:
        """Return it as text, a table for each set of images: `screen`, `grid`, `markdown`, `latex` or `html`."""
        return "\n\n".join(render(_table(group), style, width) for group in by_group(self.rows).values())

    def to_json(self) -> list[dict[str, Any]]:
        """Return a plain dictionary for each row; accuracies and optimalities are shares."""
        return [
            {**_record(each), "global": means.get((each.column.attack, str(each.column.threat)))}
            for group in by_group(self.rows).values()
            for means in (overall(group),)
            for each in group
        ]


def compare_attacks(results: Sequence[Result]) -> AttackComparison:
    """Compare the attacks of some results.

    Raises:
        BenchError: no attack was run.
    """
    rows = standings(results)
    if not rows:
        raise BenchError("no attack was run here: bench run --attacks pgd-20,apgd-ce")
    return AttackComparison(tuple(rows))


def _record(each: Standing) -> dict[str, Any]:
    part, accuracy, passes = each.row.slice, each.score.accuracy, each.passes
    return {
        "dataset": part.dataset,
        "split": part.split,
        "n": part.n,
        "seed": each.row.seed,
        "defense": each.row.defense.label,
        "judged": each.judge.name,
        "attack": each.column.attack,
        "threat": str(each.column.threat),
        "state": each.score.state,
        "reason": each.score.reason,
        "flagged": each.score.alarmed,
        "accuracy": None if accuracy is None else accuracy.value,
        "optimality": each.optimality,
        "bounded": each.bounded,
        "area": each.area,
        "area_bounded": each.area_bounded,
        "alone": each.alone,
        "forwards": None if passes is None or each.row.blocks else passes[0],
        "backwards": None if passes is None or each.row.blocks else passes[1],
    }


def _table(found: Sequence[Standing]) -> Table:
    part, seed, means = found[0].row.slice, found[0].row.seed, overall(found)
    area = any(each.area is not None for each in found)
    header = (
        ("attack",),
        ("defense",),
        ("threat",),
        ("robust", "accuracy"),
        ("optimality",),
        *((("area",),) if area else ()),
        ("alone",),
        ("passes",),
    )
    rows = [_row(each, area=area) for each in found]
    # Under the last of the columns that say what was measured: the mean has no accuracy and no passes of its own.
    rows += [
        (
            TableCell(flat(attack)),
            TableCell("all defenses"),
            TableCell(threat),
            TableCell(""),
            TableCell(f"{100 * share:.1f}"),
            *((TableCell(""),) if area else ()),
            TableCell(""),
            TableCell(""),
        )
        for (attack, threat), share in sorted(means.items(), key=lambda each: (each[0][1], -each[1]))
    ]
    notes = [*_ABOUT]
    notes += [_ABOUT_AREA] if area else []
    notes += [_ABOUT_DRAWS] if any(each.row.draws > 1 for each in found) else []
    notes += [_ABOUT_GLOBAL] if means else []
    notes += [_ABOUT_BOUND] if any(cell.bound for row in rows for cell in row) else []
    notes += [_ABOUT_ALARM] if any(cell.alarmed for row in rows for cell in row) else []
    title = f"{flat(part.dataset)} {flat(part.split)}, n={part.n}, seed {seed}: attacks"
    return Table(title, header, tuple(rows), tuple(notes), about=(1, 2), caption=_CAPTION)


def _row(each: Standing, *, area: bool) -> tuple[TableCell, ...]:
    passes, blocked = each.passes, each.score.state == "blocked"
    return (
        TableCell(flat(each.column.attack)),
        TableCell(flat(each.row.defense.label), f"({each.judge.name})"),
        TableCell(str(each.column.threat)),
        _accuracy(each),
        _share(each.optimality, bound=each.bounded),
        *((_share(each.area, bound=each.area_bounded),) if area else ()),
        _share(each.alone, bound=each.bounded),
        TableCell("-" if passes is None or blocked else f"{passes[0]:,.0f}+{passes[1]:,.0f}"),
    )


def _accuracy(each: Standing) -> TableCell:
    accuracy = each.score.accuracy
    if accuracy is None:
        return TableCell(_STATES.get(each.score.state, "-"), alarmed=each.score.alarmed)
    low, high = (100 * end for end in accuracy.interval)
    detail = f"[{low:.1f}, {high:.1f}]"
    return TableCell(f"{100 * accuracy.value:.1f}", detail, bound=not accuracy.complete, alarmed=each.score.alarmed)


def _share(value: float | None, *, bound: bool) -> TableCell:
    return TableCell("-") if value is None else TableCell(f"{100 * value:.1f}", bound=bound)
