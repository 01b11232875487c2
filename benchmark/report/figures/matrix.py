"""The matrix of defenses and attacks: each accuracy with its interval, on a ground that is brighter where it is higher.

Whether an attack is seen depends on the defense, but a column stands in one place for all of them. So the columns are
grouped by whether *any* defense here has seen their threat, and each number that belongs to a seen threat has a mark
(*). A study of generalization compares defenses on the second group, which no defense of the figure was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.figures.places import (
    Place,
    judged,
    known_below,
    legend,
    part_shown,
    place,
    require_judge,
    rows_of,
    title_of,
)
from bench.report.figures.style import (
    INK,
    PAGE_ROOM,
    SIZE,
    SMALL,
    TINY,
    Width,
    finished,
    inches,
    new_figure,
    styled,
    text_width,
)
from bench.report.figures.style import wrapped as wrap
from bench.report.plain import flat
from bench.results.accuracy import WORST_CASES, DefenseRow
from bench.results.cell import Result
from bench.results.judging import Judge
from bench.threats import CORRUPTION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All in inches: a place, a line of the head, the gaps between groups and bands, the margin.
_WIDE, _HIGH, _LINE, _GAP, _BETWEEN, _MARGIN = 0.56, 0.31, 0.115, 0.07, 0.14, 0.04
# The share of the width that names of defenses may take at most.
_NAMES = 0.3
_ABOUT = "Accuracy in %, Wilson 95 % interval over the images."


@dataclass(frozen=True)
class _Column:
    """A column: the name of its group, the lines of its head, and its place in each row."""

    group: str
    head: str
    under: str
    places: tuple[Place, ...]


def matrix(results: Sequence[Result], judge: str = "", *, width: Width = "page", left_out: int = 0) -> Figure:
    """Draw the matrix of one set of images: rows are defenses, columns attacks, then the worst cases.

    Args:
        results: of one set of images and one seed.
        judge: `mean`, `worst`, `majority` or `resubmission` of stochastic defenses; by default the headline and,
            beneath it, worst-of-N, as in the table.
        width: `column`, `page`, points as text, or inches. Columns that do not fit stand in a further band below.
        left_out: how many columns of attacks are stored for these rows, and not among the results.

    Raises:
        BenchError: results of several sets of images, or an unknown judge.
    """
    rows = rows_of(results)
    require_judge(rows, judge)
    lines = [(row, each) for row in rows for each in judged(row, judge)]
    with styled():
        less, lower = known_below(rows, judge)
        told = " ".join(filter(None, [part_shown(left_out), less]))
        return finished(_drawn(lines, _columns(lines), inches(width), told, lower))


def _columns(lines: Sequence[tuple[DefenseRow, Judge]]) -> list[_Column]:
    first = lines[0][0]
    rows = [row for row, _ in lines]
    seen = [column for column in first.attacked if any(row.seen(column) for row in rows)]
    unseen = [column for column in first.attacked if column not in seen]
    found = [_Column("", "standard", "", tuple(place(row, row.standard(each)) for row, each in lines))]
    for group, columns in (("seen", seen), ("unseen", unseen)):
        for column in columns:
            held = tuple(place(row, row.score(column, each), seen=row.seen(column)) for row, each in lines)
            found.append(_Column(group, column.attack, str(column.threat), held))
    if first.attacked:
        for which in WORST_CASES:
            held = tuple(place(row, row.worst(which, each)) for row, each in lines)
            found.append(_Column("worst case", which, "", held))
    shifts = first.corruptions
    for name, columns in {**shifts, "mean": [each for some in shifts.values() for each in some]}.items():
        if columns:
            held = tuple(place(row, row.corrupted(columns, each)) for row, each in lines)
            found.append(_Column(CORRUPTION, name, "", held))
    return found


def _drawn(
    lines: Sequence[tuple[DefenseRow, Judge]],
    columns: Sequence[_Column],
    width: float,
    aside: str,
    lower: Sequence[Place],
) -> Figure:
    names = [(wrap(row.defense.label, _NAMES * width, SIZE, lines=2), f"({each.name})") for row, each in lines]
    label = max(
        max(text_width(part, SIZE) for part in name.split("\n")) if not below else text_width(below, SMALL)
        for name, judge in names
        for name, below in ((name, ""), (name, judge))
    )
    label = label + 0.08
    bands = _bands(columns, width - label - 2 * _MARGIN)
    heads = [_head_lines(band) for band in bands]
    told = " ".join(
        filter(None, [_ABOUT, aside, *legend([*(each for column in columns for each in column.places), *lower])])
    )
    notes = wrap(told, PAGE_ROOM * width - 2 * _MARGIN, SMALL, lines=30).split("\n")
    tall = [0.2 + _LINE * head + _HIGH * len(lines) for head in heads]
    height = 0.22 + sum(tall) + _BETWEEN * (len(bands) - 1) + 0.1 + 0.125 * len(notes) + _MARGIN
    figure = new_figure(width, height, constrained=False)
    # One inch of the paper is one unit: everything is placed exactly, and nothing can move over anything.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.text(_MARGIN, 0.12, title_of(lines[0][0]), fontsize=SIZE, va="center")
    top = 0.22
    for band, head, size in zip(bands, heads, tall, strict=True):
        _band(axes, band, names, label, top, head)
        top += size + _BETWEEN
    for index, line in enumerate(notes):
        axes.text(_MARGIN, top - _BETWEEN + 0.16 + 0.125 * index, line, fontsize=SMALL, va="center")
    return figure


def _bands(columns: Sequence[_Column], room: float) -> list[list[_Column]]:
    """Return the columns of each band; a group goes to the next band as a whole, unless one column stayed alone."""
    bands: list[list[_Column]] = [[]]
    groups: dict[str, list[_Column]] = {}
    for column in columns:
        groups.setdefault(column.group, []).append(column)
    for group in groups.values():
        if len(bands[-1]) > 1 and _extent([*bands[-1], *group]) > room and _extent(group) <= room:
            bands.append([])
        for column in group:
            if bands[-1] and _extent([*bands[-1], column]) > room:
                bands.append([])
            bands[-1].append(column)
    return bands


def _extent(columns: Sequence[_Column]) -> float:
    return len(columns) * _WIDE + _GAP * (len({column.group for column in columns}) - 1)


def _head(column: _Column) -> tuple[str, str]:
    return wrap(column.head, _WIDE - 0.03, SMALL, lines=5), wrap(column.under, _WIDE - 0.03, TINY, lines=2)


def _head_lines(columns: Sequence[_Column]) -> int:
    return max(sum(part.count("\n") + 1 for part in _head(column) if part != "?") for column in columns)


def _band(
    axes: Axes, columns: Sequence[_Column], names: Sequence[tuple[str, str]], label: float, top: float, head: int
) -> None:
    body = top + 0.2 + _LINE * head
    for index, (name, judge) in enumerate(names):
        middle, right = body + _HIGH * (index + 0.5), _MARGIN + label - 0.06
        _stacked(axes, right, middle, name, SIZE, "right")
        axes.text(right, middle + 0.1, judge, fontsize=TINY, ha="right", va="baseline")
    left, begun = _MARGIN + label, _MARGIN + label
    for index, column in enumerate(columns):
        if index and column.group != columns[index - 1].group:
            left += _GAP
            begun = left
        _column(axes, column, left, body)
        left += _WIDE
        last = index + 1 == len(columns) or columns[index + 1].group != column.group
        if last and column.group:
            axes.plot([begun + 0.02, left - 0.02], [top + 0.16] * 2, color=INK, linewidth=0.5)
            axes.text((begun + left) / 2, top + 0.085, column.group, fontsize=SIZE, ha="center", va="center")


def _stacked(axes: Axes, x: float, bottom: float, text: str, size: float, align: str) -> None:
    """Write lines whose last stands on `bottom`: letters with and without a tail stand on one line."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        axes.text(x, bottom - _LINE * (len(lines) - 1 - index), line, fontsize=size, ha=align, va="baseline")


def readable(ground: Sequence[float]) -> str:
    """Return black or white, whichever has the higher contrast with a ground in sRGB (WCAG 2, at least 4.5 : 1)."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in ground[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # The contrast with white is 1.05 / (L + 0.05), that with black (L + 0.05) / 0.05.
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _column(axes: Axes, column: _Column, left: float, body: float) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    middle = left + _WIDE / 2
    head, under = _head(column)
    depth = 0 if under == "?" else _LINE * (under.count("\n") + 1)
    _stacked(axes, middle, body - 0.05 - depth, head, SMALL, "center")
    if depth:
        _stacked(axes, middle, body - 0.05, under, TINY, "center")
    for index, each in enumerate(column.places):
        high = body + _HIGH * index
        box = (left + 0.01, high + 0.01)
        if each.accuracy is None:
            # No ground of its own: nothing here may look like a low or a high number.
            axes.add_patch(
                Rectangle(box, _WIDE - 0.02, _HIGH - 0.02, facecolor="none", edgecolor=INK, alpha=0.25, linewidth=0.4)
            )
            axes.text(middle, high + _HIGH / 2, each.text, fontsize=SMALL, ha="center", va="center", style="italic")
            continue
        ground = colormaps["cividis"](each.accuracy.value)
        ink = readable(ground)
        axes.add_patch(Rectangle(box, _WIDE - 0.02, _HIGH - 0.02, facecolor=ground, edgecolor="none"))
        axes.text(middle, high + 0.4 * _HIGH, flat(each.text), fontsize=SIZE, ha="center", va="center", color=ink)
        axes.text(middle, high + 0.76 * _HIGH, each.interval, fontsize=TINY, ha="center", va="center", color=ink)
