"""Robust accuracy against what the attack spent: how much strength do more passes buy?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report.figures.places import BLOCKED, rows_of, title_of
from bench.report.figures.style import (
    COLORS,
    INK,
    LINES,
    MARKERS,
    SIZE,
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
from bench.report.plain import flat
from bench.results.accuracy import DefenseRow
from bench.results.cell import Result
from bench.results.judging import Accuracy
from bench.results.outcome import Done
from bench.threats import ThreatModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOUT = (
    "Passes per image, draws included; a backward counts as two forwards. Accuracy of the headline judge, with Wilson "
    "95 % intervals. Lines: the lowest accuracy that any attack reaches with so many passes or fewer."
)

# In inches: the least width of a panel, and of one among so many that they would be too high one above the other;
# so many rows are not. The height of the text of `article` in two columns is 7.6.
_LEAST, _NARROW, _STACKED, _TALLEST = 2.1, 1.5, 3, 7.5


@dataclass(frozen=True)
class Spent:
    """What an attack spent on a defense, and what it left of its accuracy.

    Attributes:
        passes: per image; a backward counts as two forwards.
    """

    attack: str
    threat: ThreatModel
    passes: float
    accuracy: Accuracy


def spent(row: DefenseRow) -> list[Spent]:
    """Return the finished attacks on a defense; nothing where a check blocks it."""
    found = []
    for column in () if row.blocks else row.attacked:
        result = row.results.get(column)
        accuracy = row.score(column, row.judges[0]).accuracy
        if result is not None and isinstance(result.outcome, Done) and accuracy is not None:
            cost = result.outcome.cost
            passes = (cost.forwards + 2 * cost.backwards) / row.slice.n
            found.append(Spent(column.attack, column.threat, passes, accuracy))
    return found


def front(found: Sequence[Spent]) -> list[Spent]:
    """Return the attacks that no other one beats with as many passes or fewer, the cheapest first."""
    best: list[Spent] = []
    for each in sorted(found, key=lambda one: (one.passes, one.accuracy.value)):
        if not best or each.accuracy.value < best[-1].accuracy.value:
            best.append(each)
    return best


def cost(results: Sequence[Result], *, width: Width = "page") -> Figure:
    """Draw accuracy against passes, a panel for each threat model: only attacks under one threat can be compared.

    A mark's shape is the attack, its color and the line of its front the defense.

    Args:
        results: of one set of images and one seed.
        width: `column`, `page`, points as text, or inches.

    Raises:
        BenchError: results of several sets of images, or no finished attack.
    """
    rows = rows_of(results)
    held = {index: [each for each in spent(row) if each.passes > 0] for index, row in enumerate(rows)}
    threats = [
        threat
        for threat in dict.fromkeys(column.threat for column in rows[0].attacked)
        if any(each.threat == threat for some in held.values() for each in some)
    ]
    blocked = [f"{flat(row.defense.label)}: {BLOCKED}, a check forbids a number here." for row in rows if row.blocks]
    if not threats:
        raise BenchError(
            "; ".join(blocked).rstrip(".") or "no finished attack with a count of passes among these results: run one"
        )
    attacks = list(dict.fromkeys(each.attack for some in held.values() for each in some))
    marks = dict(zip(attacks, cycled(MARKERS, len(attacks)), strict=True))
    wide = inches(width)
    with styled():
        least = _LEAST if len(threats) <= _STACKED * int(wide / _LEAST) else _NARROW
        figure, axes = panels(len(threats), wide, least=least, height=1.8, most=3, sharey=True, sharex=True)
        passes = [each.passes for some in held.values() for each in some]
        # Named before anything is drawn: a logarithmic axis with a single place on it has no range of its own.
        axes[0].set_xlim(min(passes) / 2, max(passes) * 2)
        for each, threat in zip(axes, threats, strict=True):
            of_threat = {index: [one for one in some if one.threat == threat] for index, some in held.items()}
            _panel(each, rows, of_threat, marks, str(threat))
        _key(axes[0], rows, held, marks)
        label_outer(axes, "passes per image", "robust accuracy (%)")
        free = sum(each.passes == 0 for row in rows for each in spent(row))
        lost = f"{free} cells without a count of passes are left out." if free else ""
        notes = [" ".join(filter(None, [_ABOUT, *blocked, lost]))]
        return framed(figure, axes, title=title_of(rows[0]), notes=notes, tallest=_TALLEST)


def _look(index: int) -> tuple[str, Any]:
    return COLORS[index % len(COLORS)], LINES[index % len(LINES)]


def _panel(
    axes: Axes, rows: Sequence[DefenseRow], held: dict[int, list[Spent]], marks: dict[str, str], title: str
) -> None:
    axes.set_xscale("log")
    axes.set_ylim(-3, 102)
    for index in range(len(rows)):
        color, line = _look(index)
        for each in held[index]:
            value = 100 * each.accuracy.value
            low, high = (100 * end for end in each.accuracy.interval)
            axes.errorbar(
                [each.passes],
                [value],
                yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                fmt=marks[each.attack],
                color=color,
                markersize=4.2,
                markeredgewidth=0.4,
                elinewidth=0.5,
            )
        edge = front(held[index])
        if edge:
            farthest = max(each.passes for some in held.values() for each in some)
            x = [*(each.passes for each in edge), farthest]
            y = [*(100 * each.accuracy.value for each in edge), 100 * edge[-1].accuracy.value]
            axes.step(x, y, where="post", color=color, linestyle=line, linewidth=0.9)
    axes.set_title(title, fontsize=SIZE)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    percent_axis(axes.yaxis)
    guide(axes)


def _key(axes: Axes, rows: Sequence[DefenseRow], held: dict[int, list[Spent]], marks: dict[str, str]) -> None:
    """Add what the key shows: a line for each defense, a mark for each attack; they draw nothing."""
    for index, row in enumerate(rows):
        if held[index]:
            color, line = _look(index)
            name = f"{flat(row.defense.label)} ({row.judges[0].name})"
            axes.plot([], [], color=color, linestyle=line, label=wrapped(name, 2.0, lines=2))
    for attack, mark in marks.items():
        axes.plot([], [], color=INK, marker=mark, linestyle="none", label=wrapped(attack, 2.0, lines=2))
