"""Every accuracy of every defense as a point with its interval: what overlaps, and what does not."""

from __future__ import annotations

from collections.abc import Sequence
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
    COLORS,
    INK,
    SIZE,
    TINY,
    Width,
    framed,
    guide,
    inches,
    panels,
    percent_axis,
    styled,
    text_width,
    wrapped,
)
from bench.results.accuracy import WORST_CASES, DefenseRow
from bench.results.cell import Result
from bench.results.judging import Judge

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOUT = "Accuracy with its Wilson 95 % interval over the images."
# How a judge is drawn, the headline first: the mark, and where its line lies within the row.
_LOOKS = (("o", COLORS[0]), ("s", COLORS[2]), ("D", COLORS[4]), ("^", COLORS[5]))
_ROW = 0.15


def forest(results: Sequence[Result], judge: str = "", *, width: Width = "page", left_out: int = 0) -> Figure:
    """Draw the interval of every accuracy: a panel for each defense, a row for each attack and worst case.

    Args:
        results: of one set of images and one seed.
        judge: as of `bench.report.figures.matrix.matrix`; by default the headline, and worst-of-N with open marks.
        width: `column`, `page`, points as text, or inches.
        left_out: how many columns of attacks are stored for these rows, and not among the results.

    Raises:
        BenchError: results of several sets of images, or an unknown judge.
    """
    rows = rows_of(results)
    require_judge(rows, judge)
    wide = inches(width)
    heads = ["standard accuracy", *(f"{column.attack} ({column.threat})" for column in rows[0].attacked)]
    heads += [f"worst {which}" for which in WORST_CASES if rows[0].attacked]
    with styled():
        names = [wrapped(head, 0.36 * wide if wide < 4 else 1.7, SIZE, lines=2) for head in heads]
        left = max(text_width(line, SIZE) for name in names for line in name.split("\n"))
        # The first panel of a row has the names beside it.
        across = max(1, int((wide - left - 0.1) / 0.9))
        height = _ROW * sum(1 + 0.8 * name.count("\n") for name in names) + 0.45
        figure, axes = panels(
            len(rows), wide, least=wide / across, height=height, most=across, sharex=True, sharey=True
        )
        shown = [place_ for each, row in zip(axes, rows, strict=True) for place_ in _panel(each, row, judge)]
        for each in axes:
            _dress(each, names, len(rows[0].attacked))
        less, lower = known_below(rows, judge)
        told = " ".join(
            filter(None, [_ABOUT, _judges(rows, judge), part_shown(left_out), less, *legend([*shown, *lower])])
        )
        return framed(figure, title=title_of(rows[0]), notes=[told])


def _judges(rows: Sequence[DefenseRow], judge: str) -> str:
    """Return which mark is which judge, where there are several."""
    used = {index: each.name for row in rows for index, each in enumerate(judged(row, judge)) if row.draws > 1}
    words = ("Filled circles", "open squares")
    told = ", ".join(f"{words[index]}: {name}" for index, name in used.items() if index < len(words))
    return f"{told}." if len(used) > 1 else ""


def _panel(axes: Axes, row: DefenseRow, judge: str) -> list[Place]:
    shown = []
    several = judged(row, judge)
    for index, each in enumerate(several):
        lift = 0.0 if len(several) == 1 else (-0.17, 0.17)[index % 2]
        for at, held in enumerate(_places(row, each)):
            shown.append(held)
            # The word once, not for each judge.
            _point(axes, held, at, lift, index)
    axes.set_title(wrapped(row.defense.label, 1.2, SIZE, lines=3))
    return shown


def _places(row: DefenseRow, judge: Judge) -> list[Place]:
    attacked = [place(row, row.score(column, judge), seen=row.seen(column)) for column in row.attacked]
    worst = [place(row, row.worst(which, judge)) for which in WORST_CASES if row.attacked]
    return [place(row, row.standard(judge)), *attacked, *worst]


def _point(axes: Axes, held: Place, at: int, lift: float, index: int) -> None:
    if held.accuracy is None:
        if index == 0:
            axes.text(50, at, held.text, fontsize=TINY, ha="center", va="center", style="italic")
        return
    mark, color = _LOOKS[index % len(_LOOKS)]
    value, (low, high) = 100 * held.accuracy.value, (100 * end for end in held.accuracy.interval)
    axes.errorbar(
        [value],
        [at + lift],
        xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
        fmt=mark,
        color=color,
        markerfacecolor=color if index == 0 else "none",
        markersize=3.4,
        markeredgewidth=0.8,
        elinewidth=0.9,
        capsize=0,
    )
    marks = "".join(mark for mark in held.marks)
    if marks and index == 0:
        far = high + 2 if high < 80 else low - 2
        axes.text(far, at + lift, marks, fontsize=TINY, ha="left" if high < 80 else "right", va="center")


def _dress(axes: Axes, names: Sequence[str], attacks: int) -> None:
    axes.set_xlim(-3, 103)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), list(names))
    axes.tick_params(axis="y", length=0)
    percent_axis(axes.xaxis)
    for border in (0.5, attacks + 0.5):
        axes.axhline(border, color=INK, linewidth=0.4, alpha=0.5)
    guide(axes, axis="x")
