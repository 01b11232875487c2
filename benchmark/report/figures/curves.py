"""Robust accuracy against eps, with the interval of every point as a band."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report.curves import Curve
from bench.report.figures.places import require_one
from bench.report.figures.style import (
    COLORS,
    LINES,
    MARKERS,
    Width,
    cycled,
    framed,
    guide,
    inches,
    panels,
    percent_axis,
    styled,
    wrapped,
)
from bench.report.plain import flat
from bench.threats import FAMILIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOUT = "Bands: Wilson 95 % intervals over the images, point by point."
_ABOUT_EXACT = (
    "Small marks: read off the distances of one run of a minimum-norm attack; large ones: a run for each eps."
)


def curves(found: Sequence[Curve], *, width: Width = "page") -> Figure:
    """Draw curves of robust accuracy against eps, a panel for each threat family.

    A defense has one color, an attack one kind of line, and each curve of a panel a mark of its own: none of them is
    needed to tell two curves apart.

    Args:
        found: of one set of images and one seed, as of `bench.report.curves.curves`.
        width: `column`, `page`, points as text, or inches.

    Raises:
        BenchError: no curve, or curves of several sets of images.
    """
    if not found:
        raise BenchError(
            "no curve among these results: run a minimum-norm attack such as fmn, or a sweep such as --eps 2/255,4/255"
        )
    require_one(dict.fromkeys((curve.slice, curve.seed) for curve in found))
    part, seed = found[0].slice, found[0].seed
    families = list(dict.fromkeys(curve.family for curve in found))
    wide = inches(width)
    with styled():
        figure, axes = panels(len(families), wide, least=2.1, height=1.9, most=3, sharey=True)
        looks = _looks(found)
        for each, family in zip(axes, families, strict=True):
            _panel(each, [curve for curve in found if curve.family == family], family, looks)
        blocked = list(dict.fromkeys(flat(curve.defense) for curve in found if curve.blocked))
        told = [_ABOUT, _ABOUT_EXACT if len({curve.exact for curve in found if curve.points}) > 1 else ""]
        told += [f"{name}: BLOCK, a check forbids a number here." for name in blocked]
        title = f"{flat(part.dataset)} {flat(part.split)}, n = {part.n}, seed {seed}"
        return framed(figure, axes, title=title, notes=[" ".join(filter(None, told))])


# The line is a name or a pattern of dashes.
Look = tuple[str, Any, str]


def _looks(found: Sequence[Curve]) -> dict[tuple[str, str], Look]:
    """Return color, line and mark of each defense under each attack."""
    pairs = list(dict.fromkeys((curve.defense, curve.attack) for curve in found))
    defenses, attacks = (list(dict.fromkeys(pair[index] for pair in pairs)) for index in (0, 1))
    colors = dict(zip(defenses, cycled(COLORS, len(defenses)), strict=True))
    lines = dict(zip(attacks, cycled(LINES, len(attacks)), strict=True))
    marks = cycled(MARKERS, len(pairs))
    return {pair: (colors[pair[0]], lines[pair[1]], mark) for pair, mark in zip(pairs, marks, strict=True)}


def _panel(axes: Axes, found: Sequence[Curve], family: str, looks: dict[tuple[str, str], Look]) -> None:
    sizes = [eps for curve in found for eps in curve.points]
    # The field writes 8/255, so the axis counts in such steps where the sizes are such.
    in_steps = family == "Linf" and any(eps.denominator % 5 == 0 and eps.denominator % 51 == 0 for eps in sizes)
    scale = 255 if in_steps else 1
    for curve in found:
        if curve.blocked or not curve.points:
            continue
        color, line, mark = looks[curve.defense, curve.attack]
        x = [float(Fraction(eps) * scale) for eps in curve.points]
        held = list(curve.points.values())
        label = f"{flat(curve.defense)}, {flat(curve.attack)}"
        label += "" if all(each.complete for each in held) else ": only an upper bound"
        size = 2.8 if curve.exact else 4.2
        axes.plot(
            x,
            [100 * each.value for each in held],
            color=color,
            linestyle=line,
            marker=mark,
            markersize=size,
            label=wrapped(label, 2.4, lines=2),
        )
        low, high = ([100 * each.interval[end] for each in held] for end in (0, 1))
        axes.fill_between(x, low, high, color=color, alpha=0.14, linewidth=0)
    axes.set_ylim(0, 102)
    axes.margins(x=0.02)
    axes.set_ylabel("robust accuracy (%)")
    percent_axis(axes.yaxis)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.locator_params(axis="x", nbins=5)
    unit = FAMILIES[family].unit if family in FAMILIES and not in_steps else ""
    axes.set_xlabel(wrapped(f"eps of {family}{' in 1/255' if in_steps else ''}{f' ({unit})' if unit else ''}", 1.9))
    guide(axes)
