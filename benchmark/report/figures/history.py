"""How accuracies moved from stage to stage, with intervals; lines break where a number is of another thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report.figures.style import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    SIZE,
    TINY,
    Width,
    cycled,
    framed,
    guide,
    inches,
    label_outer,
    panels,
    percent_axis,
    styled,
    wrapped,
)
from bench.report.history import LETTERS, History, HistoryRow, Place, Point, column_of, letters, stage_name
from bench.report.plain import flat

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOUT = (
    "Bars: Wilson 95 % intervals. A triangle beside a mark: the accuracy fell or rose against the number before it, "
    "by the exact paired test."
)
# More names than these fill the page; the axis then counts on.
_NAMED = 12
# In stages: how far apart the series of one stage stand, and a triangle from its mark.
_APART, _BESIDE = 0.3, 0.12


def history(found: History, *, width: Width = "page") -> Figure:
    """Draw a panel for each defense, a line for each column of its table.

    Args:
        found: of `bench.report.history`.
        width: `column`, `page`, points as text, or inches.

    Raises:
        BenchError: there is no number.
    """
    owners = list(dict.fromkeys(row.place[:4] for row in found.rows))
    if not any(point.accuracy is not None for row in found.rows for point in row.points):
        raise BenchError("no number in this history: every cell is missing, failed, skipped or blocked")
    columns = list(dict.fromkeys(column_of(row.place) for row in found.rows))
    looks = _looks(columns)
    wide = inches(width)
    with styled():
        figure, axes = panels(len(owners), wide, least=2.6, height=1.9, most=2, sharey=True, sharex=True)
        several = len({owner[:3] for owner in owners}) > 1
        for each, owner in zip(axes, owners, strict=True):
            rows = [row for row in found.rows if row.place[:4] == owner]
            _panel(each, rows, looks, len(found.stages))
            each.set_title(wrapped(_title(rows[0].place, several), wide / 2.2, lines=2), fontsize=SIZE, pad=9)
        label_outer(axes, "stage", "accuracy (%)")
        place = found.rows[0].place
        title = "" if several else f"{flat(place.dataset)} {flat(place.split)}, seed {place.seed}"
        return framed(figure, axes, title=title, notes=_notes(found))


def _title(place: Place, several: bool) -> str:
    where = f" ({place.dataset} {place.split}, seed {place.seed})" if several else ""
    return flat(f"{place.defense}{where}")


Look = tuple[str, Any, str]


def _looks(columns: Sequence[str]) -> dict[str, Look]:
    """Return color, line and mark of each column; the standard accuracy has the color of the text."""
    attacked = [name for name in columns if name != "standard"]
    kinds = zip(
        cycled(COLORS, len(attacked)), cycled(LINES, len(attacked)), cycled(MARKERS, len(attacked)), strict=True
    )
    return {"standard": (INK, "-", "."), **dict(zip(attacked, kinds, strict=True))}


def _panel(axes: Axes, rows: Sequence[HistoryRow], looks: dict[str, Look], stages: int) -> None:
    breaks: dict[int, set[str]] = {}
    for index, row in enumerate(rows):
        # A little apart, so that bars of equal accuracies do not hide each other.
        shift = 1 + _APART * (index - (len(rows) - 1) / 2) / max(1, len(rows) - 1)
        color, line, mark = looks[column_of(row.place)]
        label: str | None = wrapped(column_of(row.place), 2.4, lines=2)
        for segment in row.segments():
            _segment(axes, segment, shift, (color, line, mark), label)
            label = None  # one entry of the key for all segments
        for point in row.points:
            breaks.setdefault(point.at, set()).update(letters(point))
            if point.accuracy is not None and point.verdict in ("fell", "rose"):
                _moved(axes, point, point.at + shift, color)
    for at, told in breaks.items():
        if told:
            axes.axvline(at + 0.5, color=INK, linewidth=0.6, linestyle=(0, (1, 2)))
            text = "".join(sorted(told))
            axes.annotate(text, (at + 0.5, 104), ha="center", va="bottom", fontsize=TINY, annotation_clip=False)
    _gaps(axes, rows)
    axes.set_xlim(0.4, stages + 0.6)
    axes.set_ylim(-4, 104)
    step = max(1, -(-stages // _NAMED))
    axes.set_xticks(range(1, stages + 1, step))
    percent_axis(axes.yaxis)
    guide(axes)


def _segment(axes: Axes, segment: Sequence[Point], shift: float, look: Look, label: str | None) -> None:
    color, line, mark = look
    held = [(point, point.accuracy) for point in segment if point.accuracy is not None]
    y = [100 * accuracy.value for _, accuracy in held]
    low = [max(0.0, 100 * (accuracy.value - accuracy.interval.low)) for _, accuracy in held]
    high = [max(0.0, 100 * (accuracy.interval.high - accuracy.value)) for _, accuracy in held]
    bound = segment[0].state == "partial"
    axes.errorbar(
        [point.at + shift for point, _ in held],
        y,
        yerr=[low, high],
        color=color,
        linestyle=line,
        marker=mark,
        markersize=4,
        markerfacecolor="none" if bound else color,
        uplims=bound,
        elinewidth=0.6,
        label=label,
    )


def _moved(axes: Axes, point: Point, x: float, color: str) -> None:
    """Draw a triangle beside a number that fell or rose."""
    assert point.accuracy is not None  # noqa: S101  (for the type checker)
    mark = "v" if point.verdict == "fell" else "^"
    axes.scatter([x + _BESIDE], [100 * point.accuracy.value], s=9, marker=mark, color=INK, edgecolors=color, zorder=3)


def _gaps(axes: Axes, rows: Sequence[HistoryRow]) -> None:
    """Write at the bottom of a stage what has no number there; nothing failed or blocked is left out in silence."""
    told: dict[int, set[str]] = {}
    for row in rows:
        for point in row.points:
            name = {"failed": "FAIL", "blocked": "BLOCK", "missing": "..."}.get(point.state)
            if name:
                told.setdefault(point.at, set()).add(name)
    for at, names in told.items():
        axes.text(at + 1, -2, "\n".join(sorted(names)), ha="center", va="bottom", fontsize=TINY)


def _notes(found: History) -> list[str]:
    changed = {change for row in found.rows for point in row.points for change in point.changed}
    told = "; ".join(f"{letter}: {what}" for name, (letter, what) in LETTERS.items() if name in changed)
    breaks = f" Dotted: from here on a number is of another thing. {told}." if changed else ""
    states = {point.state for row in found.rows for point in row.points}
    marks = [
        text
        for state, text in (
            ("partial", "Hollow with an arrow: an upper bound only."),
            ("failed", "FAIL: a cell broke."),
            ("blocked", "BLOCK: a check forbids a number."),
            ("missing", "...: a cell was not computed."),
        )
        if state in states
    ]
    names = [f"{at + 1}: {stage_name(stage)}" for at, stage in enumerate(found.stages)]
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], "...", names[-1]]
    return [" ".join([_ABOUT + breaks, *marks]), *names, *found.notes]
