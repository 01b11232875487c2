"""How every figure looks: sizes for a paper, one ink, colors that everybody can tell apart, and plain text.

Figures are made with matplotlib's objects alone: no pyplot, no state that outlives a call. Labels come from other
people's code, so no text is ever read as mathematics (`text.parse_math`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import cycle, islice
from math import ceil, floor
from typing import TYPE_CHECKING, Any, TypeVar

from bench.errors import BenchError
from bench.report import widths
from bench.report.plain import flat

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.legend import Legend

Of = TypeVar("Of")
Width = float | str

# In inches.
_NARROWEST, _WIDEST = 2.0, 40.0

# In points; a paper's captions have 8 or 9.
SIZE, SMALL, TINY = 8.0, 7.0, 6.0

# Text, axes and everything else that stands on the background. The page replaces it by the color of its own text, so
# text on a colored ground must be pure black or white instead.
INK = "#1a1a1a"

# Okabe and Ito's colors, which people with any kind of color vision tell apart; without black and yellow, which
# are hard to see on a dark page and on a light one. Neighbours differ in lightness, too.
COLORS = ("#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 2)), (0, (2, 1, 1, 1, 1, 1)))

# Times as the paper around it; DejaVu has what is missing there. Both come with matplotlib, so every machine has them.
FONTS = ("STIXGeneral", "DejaVu Sans")

# On a page the text has the page's font, whatever it is. DejaVu is wider than any that a page is likely to have: what
# is laid out with it, this much smaller, fits. A line of remarks may fill this share of a figure, for the same reason.
_PAGE_FONT, _SMALLER, PAGE_ROOM = "DejaVu Sans", 0.87, 0.87

_RC: Any = {  # by name, of the settings that this version of matplotlib has
    "axes.edgecolor": INK,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": SIZE,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": SIZE,
    "axes.unicode_minus": True,
    "figure.dpi": 100,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": list(FONTS),
    "font.size": SIZE,
    "legend.edgecolor": "none",
    "legend.facecolor": "none",
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
}


def inches(width: Width) -> float:
    """Return a width in inches.

    Args:
        width: `column`, `page` or TeX's points as text (`240`, `240pt`); a number is one of inches.

    Raises:
        BenchError: neither a name nor a sensible number.
    """
    points = widths.points(width) if isinstance(width, str) else width * widths.POINTS_PER_INCH
    least, most = _NARROWEST * widths.POINTS_PER_INCH, _WIDEST * widths.POINTS_PER_INCH
    if points is None or not least <= points <= most:
        raise BenchError(
            f"--width {width!r} is unknown: give column, page, points from {ceil(least)} to {floor(most)} "
            f"(\\showthe\\linewidth) or, from Python, inches from {_NARROWEST:g} to {_WIDEST:g}"
        )
    return points / widths.POINTS_PER_INCH if isinstance(width, str) else float(width)


_MISSING = r"Glyph .* missing from .*font"


@contextmanager
def styled() -> Iterator[None]:
    """Make, change or draw a figure inside: matplotlib's own settings, whatever they are, do not reach it.

    Raises:
        BenchError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise BenchError("figures need matplotlib, which is not installed: pip install 'atop-bench[report]'") from error
    with mpl.rc_context(), warnings.catch_warnings():
        # A label in a script that neither font has is drawn as boxes; that is no news for the terminal.
        warnings.filterwarnings("ignore", _MISSING)
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(width: float, height: float, *, constrained: bool = True) -> Figure:
    """Return an empty figure of this size in inches; to be called inside `styled`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)  # which measures text; any other can draw the figure all the same
    return figure


def panels(
    count: int,
    width: float,
    *,
    least: float,
    height: float,
    most: int = 4,
    **shared: Any,  # noqa: ANN401
) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes for `count` panels, row by row, and these axes.

    Args:
        count: the number of panels.
        width: of the figure, in inches.
        least: the least width of a panel with its labels, in inches.
        height: of a row of panels, in inches.
        most: panels in a row.
        **shared: `sharex`, `sharey` as of `Figure.subplots`.
    """
    across = max(1, min(count, most, int(width / least + 1e-9)))
    down = -(-count // across)
    # A last row with one panel beside empty space looks forgotten: even rows, where the number allows it.
    across = -(-count // down)
    figure = new_figure(width, down * height)
    axes = list(figure.subplots(down, across, squeeze=False, **shared).flat)
    for empty in axes[count:]:
        empty.set_visible(False)
    for index, each in enumerate(axes[:count]):
        # Shared labels stand at the left and at the bottom, also where the place below is empty.
        each.tick_params(labelleft=index % across == 0 or not shared.get("sharey"))
        each.tick_params(labelbottom=index + across >= count or not shared.get("sharex"))
    return figure, axes[:count]


def label_outer(axes: Sequence[Axes], x: str, y: str) -> None:
    """Name the axes of panels once: y at the left, x at the bottom of each column."""
    for index, each in enumerate(axes):
        spec = each.get_subplotspec()
        across = spec.get_gridspec().ncols if spec else 1
        each.set_ylabel(y if index % across == 0 else "")
        each.set_xlabel(x if index + across >= len(axes) else "")


# In inches: a line of the remarks, and the space around what stands above and below the panels.
_LINE, _SPACE = 0.13, 0.06
# In inches: a row of panels with its title, below which its numbers could not be read.
_LOWEST = 0.9


def framed(
    figure: Figure, axes: Sequence[Axes] = (), *, title: str = "", notes: Sequence[str] = (), tallest: float = 0.0
) -> Figure:
    """Add a title above the panels, and below them one key of all their series and remarks; return the figure.

    The figure grows by what these take: the panels keep their height, unless it would be higher than `tallest`, in
    inches. Then they shrink, to no less than a height of 0.9 for each row.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width, body = figure.get_figwidth(), figure.get_figheight()
    lines = [
        part for each in notes if each for part in wrapped(each, PAGE_ROOM * width - 0.1, SMALL, lines=30).split("\n")
    ]
    told = _LINE * len(lines) + _SPACE if lines else 0.0
    key = _key(figure, axes, width)
    box = key.get_tightbbox() if key else None
    high = box.height / figure.dpi if box else 0.0
    above = 0.2 if title else 0.0
    if tallest and body + above + high + told > tallest:
        rows = max((each.get_gridspec().nrows for each in (one.get_subplotspec() for one in axes) if each), default=1)
        body = min(body, max(tallest - above - high - told, _LOWEST * rows))
    total = body + above + high + told
    figure.set_figheight(total)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, (high + told) / total, 1, body / total))
    if key:
        key.set_bbox_to_anchor((0, told / total))
    if title:
        figure.text(0.05 / width, 1 - 0.1 / total, title, fontsize=SIZE, va="center").set_in_layout(False)
    for index, line in enumerate(lines):
        y = (told - _LINE * (index + 0.5) - _SPACE / 2) / total
        figure.text(0.05 / width, y, line, fontsize=SMALL, va="center").set_in_layout(False)
    return finished(figure)


def _key(figure: Figure, axes: Sequence[Axes], width: float) -> Legend | None:
    """Return one key of all series of some panels."""
    held: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            held.setdefault(label, handle)
    if not held:
        return None
    widest = max(text_width(line, SMALL) for label in held for line in label.split("\n")) + 0.5
    columns = max(1, min(len(held), int(width // widest)))
    key = figure.legend(
        list(held.values()), list(held), loc="lower left", ncols=columns, borderaxespad=0, columnspacing=1.2
    )
    key.set_in_layout(False)
    return key


def finished(figure: Figure) -> Figure:
    """Lay a figure out and make all that matplotlib would make at the first drawing, while the style holds."""
    figure.draw_without_rendering()
    return figure


def text_width(text: str, size: float = SIZE) -> float:
    """Return how wide a line is in inches, at this size in points."""
    return _width(text) * size / 72


@lru_cache(maxsize=4096)
def _width(text: str) -> float:
    from matplotlib.textpath import text_to_path

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _MISSING)
        return float(text_to_path.get_text_width_height_descent(text, _font(), ismath=False)[0]) / _font().get_size()


@lru_cache(maxsize=1)
def _font() -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=list(FONTS), size=100)


# After these a label may be broken: `pgd-20[steps=50,n_restarts=5]`.
_BREAKS = frozenset("-[,:=/@#_. ")


def wrapped(text: str, width: float, size: float = SIZE, lines: int = 6) -> str:
    """Return other people's text in lines of at most `width` inches; what does not fit is replaced by an ellipsis."""
    pieces = [""]
    for char in flat(text):
        pieces[-1] += char
        if char in _BREAKS:
            pieces.append("")
    found = [""]
    for piece in pieces:
        joined = found[-1] + piece
        if text_width(joined.rstrip(), size) <= width:
            found[-1] = joined
            continue
        if found[-1]:
            found.append("")
        for char in piece:  # a single piece may be longer than a line
            if found[-1] and text_width(found[-1] + char, size) > width:
                found.append("")
            found[-1] += char
    found = [line.rstrip() for line in found if line.strip()] or ["?"]
    return "\n".join(found if len(found) <= lines else [*found[: lines - 1], "…" + found[-1]])


def cycled(values: Sequence[Of], count: int) -> list[Of]:
    """Return `count` values, from the beginning again where they end."""
    return list(islice(cycle(values), count))


def percent_axis(axis: Any) -> None:  # noqa: ANN401  (an x or y axis)
    """Make an axis of shares in percent, from 0 to 100."""
    axis.set_major_locator(_fixed((0, 25, 50, 75, 100)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def _fixed(values: Sequence[float]) -> Any:  # noqa: ANN401
    from matplotlib.ticker import FixedLocator

    return FixedLocator(list(values))


def guide(axes: Axes, *, axis: str = "y") -> None:
    """Draw faint lines behind the data."""
    axes.grid(visible=True, axis="y" if axis == "y" else "x", color=INK, alpha=0.15, linewidth=0.5)
    axes.set_axisbelow(True)


@contextmanager
def on_page(figure: Figure) -> Iterator[None]:
    """Lay a figure out for the font of a page inside, and as before afterwards."""
    from matplotlib.text import Text

    texts = {each: (each.get_fontfamily(), each.get_fontsize()) for each in figure.findobj(Text)}
    for text, (_, size) in texts.items():
        text.set_fontfamily(_PAGE_FONT)
        text.set_fontsize(_SMALLER * float(size))
    try:
        yield
    finally:
        for text, (family, size) in texts.items():
            text.set_fontfamily(family)
            text.set_fontsize(size)
        figure.draw_without_rendering()
