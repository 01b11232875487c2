"""The leaderboard as text, with equal ranks for defenses that the test does not separate."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.columns import draw_listing, prose, screen_width
from bench.report.comparison import resolution
from bench.report.draws import verdicts_of
from bench.report.tables import part_of
from bench.results.accuracy import defense_rows
from bench.results.cell import Result, Slice
from bench.results.ranking import Ranked, in_order, ranking

_HEADER = ("rank", " worst case over all", "judged".ljust(len("deterministic ")), "")
ABOUT_RANKS = (
    "Equal ranks: not separated by exact paired tests (Holm over all pairs, alpha .05). "
    "No rank: cells failed or are missing, so the value is only an upper bound, or attacks that the others have were "
    "never asked for."
)


def render_ranking(results: Sequence[Result], without: int = 0) -> str:
    """Return the ranks as text for the screen, one block per slice and seed.

    Args:
        results: of any number of slices.
        without: how many columns of attacks are stored for these defenses, and not among the results.
    """
    width = screen_width()
    blocks: dict[tuple[Slice, int], list[tuple[str, ...]]] = {}
    draws: dict[tuple[Slice, int], list[str]] = {}
    for item in ranking(results):
        row, accuracy = item.row, item.accuracy
        low, high = accuracy.interval
        bound = "" if accuracy.complete else "<= "
        value = f"{bound}{100 * accuracy.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        lower = f", {100 * item.own.value:.1f} under what others lack" if item.own.value < accuracy.value else ""
        line = (str(item.rank or "-"), value, accuracy.judged, f"{row.defense.label}{lower}{_known(item)}")
        blocks.setdefault((row.slice, row.seed), []).append(line)
        draws.setdefault((row.slice, row.seed), []).extend(filter(None, [verdicts_of(row)]))
    # Blocked defenses are shown, without a number, so that nobody takes them for forgotten.
    for row in defense_rows(in_order(results)):
        if row.blocks:
            line = ("-", "BLOCK", row.judges[0].name, f"{row.defense.label}: {'; '.join(row.blocks)}")
            blocks.setdefault((row.slice, row.seed), []).append(line)
    lines = []
    for (part, seed), block in blocks.items():
        lines += [prose(f"{part.dataset} {part.split}, n={part.n}, seed {seed}", width)]
        lines += [draw_listing(_HEADER, block, width, right=(0, 1))]
        notes = [
            *draws.get((part, seed), ()),
            *left_out(results, part, seed),
            *([resolution(part.n)] if len(block) > 1 else []),
        ]
        lines += [*(prose(line, width) for line in notes), ""]
    told = [part_of(without)] if without else []
    return "\n".join([*lines, *(prose(line, width) for line in (*told, ABOUT_RANKS))])


def _known(item: Ranked) -> str:
    """Return what archives of others leave of a defense, and who made them, where that is less."""
    if item.known is None:
        return ""
    bound = "" if item.known.complete else "<= "
    return f", best known {bound}{100 * item.known.value:.1f}, by {'; '.join(item.known_by)}"


def left_out(results: Sequence[Result], part: Slice, seed: int) -> list[str]:
    """Return a line on the attacks left out of the ranks, because not every ranked defense was run under them."""
    ranked = [item.row for item in ranking(results) if item.rank and (item.row.slice, item.row.seed) == (part, seed)]
    if not ranked:
        return []
    every = next(row.columns for row in defense_rows(in_order(results)) if (row.slice, row.seed) == (part, seed))
    missing = [
        f"{column.attack} ({column.threat})"
        for column in every
        if column not in ranked[0].columns and not column.imported and not column.known_draws
    ]
    return [f"not all of these were asked under {', '.join(missing)}: ranked without"] if missing else []
