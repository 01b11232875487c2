"""What a search for an attack tried and found, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.report.columns import prose
from bench.report.optimality import compare_attacks
from bench.report.plain import flat
from bench.results.cell import Result
from bench.results.searched import Searched


def as_text(searched: Searched, path: Path, results: Sequence[Result], width: int | None = None) -> str:
    """Return what was tried on validation images, and the table of the attacks on test images.

    Args:
        searched: the search.
        path: the file of the attack that was found.
        results: of it, and of the attacks beside it, on test images.
        width: of the screen; `None` for no bound.
    """
    head = prose("\n".join(_lines(searched, path)), width)
    try:
        table = compare_attacks(results).table(width=width)
    except BenchError:  # a check blocks the defense, or every attack failed
        table = "no attack has a number on the test images"
    return f"{head}\n\n{table}"


def _lines(searched: Searched, path: Path) -> list[str]:
    found, out = searched.found, searched.left_out
    spent = searched.passes / searched.n
    lines = [
        f"{flat(searched.defense)}, {flat(searched.dataset)} validation, n={searched.n}, {searched.threat}, "
        f"seed {searched.seed}: {searched.strategy}",
        f"tried        {len(searched.tried) - len(out)} attacks and sequences of them, {len(out)} left out",
        f"passes       {spent:,.0f} of {searched.budget:,} per image, forwards and backwards, draws included",
        f"best         {100 * found.accuracy:.1f} % right on {found.images} validation images, at "
        f"{found.passes / found.images:,.0f} passes per image",
    ]
    lines += [f"{'found' if not index else 'then':12s} {flat(name)}" for index, name in enumerate(found.attacks)]
    lines.append(f"file         {path}   (bench run --attacks {path})")
    reasons = Counter(each.reason for each in out)
    lines += [f"left out     {count}: {flat(reason)}" for reason, count in reasons.most_common()]
    return lines
