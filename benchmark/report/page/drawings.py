"""The figures of the page, as SVG within it: intervals, curves, ladders and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.curves import Curve
from bench.report.ladder import Ladder
from bench.results.cell import Result
from bench.results.outcome import Cost, Done
from bench.results.ranking import ranking

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = object  # only named in annotations: the page is declared where matplotlib is missing

# Cells of one figure: with more, nobody could tell them apart, and the page would be large and slow to make.
_MOST = 240
# In inches: as wide as the page's text, at the size of its small print.
_WIDTH = 8.5


@dataclass(frozen=True)
class Drawing:
    """A figure for the page.

    Attributes:
        svg: its element, as markup; made by us, with other people's text escaped in it.
        caption: what is to be seen.
    """

    svg: Any
    caption: str


def drawn(results: Sequence[Result], curves: Sequence[Curve], ladders: Sequence[Ladder]) -> Mapping[str, Drawing]:
    """Return the figures that these results have something for, by the name of their part of the page.

    Args:
        results: on one set of images with one seed.
        curves: of them, as of `bench.report.curves.curves`.
        ladders: of a study.
    """
    from bench.report.figures.cost import cost
    from bench.report.figures.curves import curves as curved
    from bench.report.figures.forest import forest
    from bench.report.figures.ladder import ladder as laddered

    found = {}
    results, only = _best(results)
    if any(isinstance(result.outcome, Done) for result in results):
        found["forest"] = _inline(
            forest(results, width=_WIDTH),
            "Intervals",
            f"The accuracy of {only} under each attack, with its 95 % interval; the table of defenses by attacks holds "
            "all numbers.",
        )
    if any(curve.points for curve in curves):
        found["curves"] = _inline(
            curved(curves, width=_WIDTH),
            "Robust accuracy against eps",
            "Robust accuracy falls as eps grows; the tables below hold the same numbers.",
        )
    if any(ladder.steps and not ladder.blocks for ladder in ladders):
        found["ladder"] = _inline(
            laddered(ladders, width=_WIDTH),
            "Ladders",
            "What each rung leaves of the accuracy; the tables above hold the same numbers.",
        )
    if any(_cost(result).forwards + _cost(result).backwards for result in results if _may_cost(result)):
        found["cost"] = _inline(
            cost(results, width=_WIDTH),
            "Cost against robust accuracy",
            f"Robust accuracy of {only} against the passes that an attack took; a lower mark further left is the "
            "better attack. The table of every cell holds all numbers.",
        )
    return found


def _best(results: Sequence[Result]) -> tuple[list[Result], str]:
    """Return the cells of as many defenses as a figure can hold, the best ranked, and the words for them."""
    labels = list(dict.fromkeys(result.cell.defense.label for result in results))
    most = max(1, _MOST * len(labels) // max(1, len(results)))
    if len(labels) <= most:
        return list(results), "each defense"
    ranked = dict.fromkeys([*(item.row.defense.label for item in ranking(results)), *labels])
    chosen = set(list(ranked)[:most])
    return (
        [result for result in results if result.cell.defense.label in chosen],
        f"the {most} best of {len(labels)} defenses",
    )


def _may_cost(result: Result) -> bool:
    """Return whether a cell stands in the figure of cost: an attack on a defense that no check blocks."""
    return isinstance(result.outcome, Done) and not result.cell.threat.is_shift and not result.blocked


def _cost(result: Result) -> Cost:
    return result.outcome.cost if isinstance(result.outcome, Done) else Cost()


def _inline(figure: Figure, title: str, caption: str) -> Drawing:
    from markupsafe import Markup

    from bench.report.figures.svg import inline

    # `inline` escapes what other people have named, as a serializer of XML does.
    return Drawing(Markup(inline(figure, title, caption)), caption)  # noqa: S704
