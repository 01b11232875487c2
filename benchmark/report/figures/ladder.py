"""Ladders: what each rung of the attacker's knowledge takes away from a defense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.figures.places import BLOCKED
from bench.report.figures.style import (
    COLORS,
    INK,
    SIZE,
    TINY,
    Width,
    framed,
    guide,
    inches,
    label_outer,
    panels,
    percent_axis,
    styled,
    text_width,
    wrapped,
)
from bench.report.ladder import Ladder, Step
from bench.report.plain import flat
from bench.results.judging import Accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOUT = (
    "Accuracy with Wilson 95 % intervals. Numbers between rungs: the drop in points, with its paired exact p-value, "
    "Holm-adjusted within a ladder."
)
_ABOUT_WORST = "Open squares: worst-of-N; its accuracy without attack is the control of what that judge costs alone."
_ABOUT_BASE = "Dashed line: the undefended base under PGD, with its interval."
_ROW = 0.27


def ladder(found: Sequence[Ladder], *, width: Width = "page") -> Figure:
    """Draw ladders, a panel for each defense and threat model: rungs from the weakest attack down to the strongest.

    Args:
        found: as of `bench.report.ladder.ladders`.
        width: `column`, `page`, points as text, or inches.

    Raises:
        BenchError: there is no ladder.
    """
    if not found:
        raise BenchError("no ladder among these results: run one, such as bench run --study ladder")
    wide = inches(width)
    with styled():
        lines = [_lines(each) for each in found]
        names = [wrapped(step.name, 1.3, SIZE, lines=2) for each in lines for step in each]
        left = max(text_width(line, SIZE) for name in names for line in name.split("\n"))
        most = max(1, int(wide // (left + 2.0)))
        height = _ROW * max(map(len, lines)) + 0.55
        figure, axes = panels(len(found), wide, least=wide / most, height=height, most=most)
        for each, one, steps in zip(axes, found, lines, strict=True):
            _panel(each, one, steps, wide / most, max(map(len, lines)))
        label_outer(axes, "accuracy (%)", "")
        told = [_ABOUT]
        told += [_ABOUT_WORST] if any(one.clean.worst for one in found) else []
        told += [_ABOUT_BASE] if any(one.base and not one.blocks for one in found) else []
        return framed(figure, notes=[" ".join(told), *_left_out(found)])


def _left_out(found: Sequence[Ladder]) -> list[str]:
    """Return a line per reason for rungs that were not measured, with the ladders that lack them."""
    lacking: dict[str, list[str]] = {}
    for one in found:
        for reason in one.missing:
            lacking.setdefault(flat(reason), []).append(flat(one.title.partition(", ")[0]))
    return [
        f"Left out: {reason} ({'all' if len(of) == len(found) else ', '.join(of)})." for reason, of in lacking.items()
    ]


def _lines(one: Ladder) -> list[Step]:
    """Return what stands on the panel: no attack, the rungs, their worst case."""
    return [one.clean, *one.steps, *([one.union] if one.union else [])]


def _panel(axes: Axes, one: Ladder, steps: Sequence[Step], width: float, most: int) -> None:
    axes.set_title(wrapped(one.title, width - 0.1, SIZE, lines=3), loc="left", x=0, fontsize=SIZE)
    names = [wrapped(step.name, 1.3, SIZE, lines=2) for step in steps]
    axes.set_xlim(-2, 102)
    axes.set_ylim(most - 0.4, -0.6)
    axes.set_yticks(range(len(steps)), names)
    axes.tick_params(axis="y", length=0)
    percent_axis(axes.xaxis)
    guide(axes, axis="x")
    if one.blocks:
        axes.text(50, (len(steps) - 1) / 2, BLOCKED, fontsize=SIZE, ha="center", va="center", style="italic")
        return
    if one.base is not None:
        low, high = one.base.interval
        axes.axvspan(100 * low, 100 * high, color=INK, alpha=0.1, linewidth=0)
        axes.axvline(100 * one.base.value, color=INK, linestyle=(0, (4, 2)), linewidth=0.8, label="undefended base")
    climbed = steps[: len(one.steps) + 1]
    lift = 0.13 if one.clean.worst is not None else 0.0
    heights = [at - lift for at in range(len(climbed))]
    axes.plot([100 * step.mean.value for step in climbed], heights, color=COLORS[0], linewidth=0.8)
    for at, step in enumerate(steps):
        _point(axes, step.mean, at - lift, "o", COLORS[0], filled=True)
        if step.worst is not None:
            _point(axes, step.worst, at + 0.2, "s", COLORS[2], filled=False)
        if step.drop is not None:
            _drop(axes, step, at)
    axes.axhline(0.5, color=INK, linewidth=0.4, alpha=0.5)
    axes.axhline(len(one.steps) + 0.5, color=INK, linewidth=0.4, alpha=0.5)


def _drop(axes: Axes, step: Step, at: int) -> None:
    """Write what a rung takes, between it and the rung before."""
    assert step.drop is not None  # noqa: S101  (for the type checker)
    sign = "−" if step.drop > 0 else "+" if step.drop < 0 else "±"
    chance = "p < 0.001" if step.p < 0.001 else f"p = {step.p:.2g}"
    text = f"{sign}{100 * abs(step.drop):.1f} ({chance})"
    # Outside the panel, where no interval can reach it.
    axes.text(104, at - 0.5, text, fontsize=TINY, ha="left", va="center")


def _point(axes: Axes, accuracy: Accuracy, at: float, mark: str, color: str, *, filled: bool) -> None:
    value, (low, high) = 100 * accuracy.value, (100 * end for end in accuracy.interval)
    axes.errorbar(
        [value],
        [at],
        xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
        fmt=mark,
        color=color,
        markerfacecolor=color if filled else "none",
        markersize=3.6,
        markeredgewidth=0.8,
        elinewidth=0.9,
    )
