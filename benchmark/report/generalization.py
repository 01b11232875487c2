"""The measures of generalization as a table: a row for each defense, a column for each measure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.columns import screen_width
from bench.report.plain import flat
from bench.report.render import ALARM, BOUND, Table, TableCell, render
from bench.results.accuracy import DefenseRow
from bench.results.calibrations import CALIBRATED_ON
from bench.results.cell import Result, Slice
from bench.results.generalization import STABILITY, Measure, generalization

_ABOUT = {
    "mean-unseen": "mean-unseen: the worst case under each unseen threat model, and then the mean over them; which "
    "ones are unseen differs from defense to defense.",
    "worst-unseen": "worst-unseen: per example the worst over all unseen threat models.",
    "gap": "gap: the worst case over the seen threat models minus that over the unseen ones, in points.",
    "UAR": "UAR (Kang et al., arXiv 1908.08016): accuracies at six calibrated sizes by those of training against each.",
    "mUAR": "mUAR: the mean UAR over the families that are not in a defense's training.",
    "CR": "CR (MultiRobustBench, arXiv 2302.10980): accuracy by that of training against the very attack, the mean and "
    "the smallest over no attack and 180 attacks and sizes.",
    "SC": "SC: the largest change of accuracy from a seen attack to a near one, by that of training against them.",
}
_ABOUT_INTERVALS = (
    "In percent, with 95 % intervals over the images (Wilson; for the gap, paired). A smallest or a largest ratio has "
    "none; ATA and acc* are taken as known."
)
_ABOUT_BOUND = f"{BOUND} an upper bound, >= a lower one: cells failed or are missing."
_ABOUT_ALARM = f"{ALARM} a check flags one of its numbers: bench table --checks"
_ABOUT_OTHERS = (
    f"UAR and CR are ratios to other networks, trained for {CALIBRATED_ON} and attacked by their authors; here every "
    "number is the worst case over the attacks that were run."
)
_ABOUT_NONE = f"UAR, mUAR, CR and SC are calibrated for {CALIBRATED_ON} only."


def render_measures(results: Sequence[Result], width: int | None = None) -> str:
    """Return the measures as text for the screen, a table for each set of images and seed."""
    groups: dict[tuple[Slice, int], list[tuple[DefenseRow, list[Measure]]]] = {}
    for row, measured in generalization(results):
        groups.setdefault((row.slice, row.seed), []).append((row, measured))
    shown = screen_width() if width is None else width
    return "\n\n".join(render(_table(part, seed, rows), "screen", shown) for (part, seed), rows in groups.items())


def _table(part: Slice, seed: int, rows: Sequence[tuple[DefenseRow, list[Measure]]]) -> Table:
    every = list(dict.fromkeys(each.name for _, measured in rows for each in measured))
    having = {each.name for _, measured in rows for each in measured if each.value is not None}
    names = [name for name in every if name in having or name in _ABOUT]
    reasons: dict[str, int] = {}
    lines = [
        (
            TableCell(flat(row.defense.label), f"({row.judges[0].name})"),
            *(_cell(row, {each.name: each for each in measured}.get(name), reasons) for name in names),
        )
        for row, measured in rows
    ]
    cells = [cell for line in lines for cell in line[1:]]
    kinds = dict.fromkeys(name.split(" ")[0] for name in names)
    notes = [_ABOUT_INTERVALS, *(_ABOUT[kind] for kind in kinds if kind in _ABOUT)]
    notes += [_ABOUT_BOUND] if any(cell.text.startswith((BOUND, ">=")) for cell in cells) else []
    notes += [_ABOUT_ALARM] if any(cell.alarmed for cell in cells) else []
    calibrated = part.dataset == CALIBRATED_ON
    notes += [] if calibrated else [_ABOUT_NONE]
    notes += [_ABOUT_OTHERS] if calibrated and {"UAR", "CR"} & set(kinds) else []
    notes += [f"[{number}] {reason}" for reason, number in reasons.items()]
    # What nobody has is no column, but what it lacks may be a run away.
    lacking: dict[str, dict[str, None]] = {}
    for each in (each for _, measured in rows for each in measured if each.name not in names):
        lacking.setdefault(each.reason, {})[each.name] = None
    notes += [f"{', '.join(those)}: {reason}" for reason, those in lacking.items()]
    title = f"{flat(part.dataset)} {flat(part.split)}, n={part.n}, seed {seed}: generalization"
    return Table(title, (("defense",), *(tuple(name.split(" ", 1)) for name in names)), tuple(lines), tuple(notes))


def _cell(row: DefenseRow, measure: Measure | None, reasons: dict[str, int]) -> TableCell:
    if row.blocks:
        return TableCell("BLOCK")
    if measure is None or measure.value is None:
        why = flat(measure.reason) if measure is not None else "not among its measures"
        return TableCell("-", note=reasons.setdefault(why, len(reasons) + 1))
    value = measure.in_percent(measure.value)
    text = f"{value:.2f}" if measure.name == STABILITY else f"{value:+.1f}" if measure.name == "gap" else f"{value:.1f}"
    low, high = measure.interval or (None, None)
    detail = "" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"
    bound = f"{measure.bound} " if measure.bound else ""
    return TableCell(f"{bound}{text}", detail, alarmed=measure.flagged)
