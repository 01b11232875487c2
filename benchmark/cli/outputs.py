"""What is made of stored verdicts: the table, the leaderboard, the gate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cell import Result
from bench.checks.finding import Finding
from bench.chosen import Chosen
from bench.errors import BenchError
from bench.outcome import Failed
from bench.store import Store

_FORMATS = ("screen", "grid", "markdown", "latex")


def print_table(results: Sequence[Result], style: str = "screen", *, cost: bool = False) -> None:
    """Print the table of some cells, or of their passes, in one of the formats."""
    from bench.costs import cost_table
    from bench.tables import make_table, render

    width = shutil.get_terminal_size((120, 24)).columns
    print(render(cost_table(results) if cost else make_table(results), style, width=width))


def table(results: Path, chosen: Chosen, style: str, *, cost: bool = False, as_json: bool = False) -> int:
    """Print one table per set of images that was measured; 3 when a cell is missing or failed."""
    if style not in _FORMATS:
        raise BenchError(f"--format {style!r} is unknown: give one of {', '.join(_FORMATS)}")
    stored = chosen.of(_read(results))
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in stored:
        part = result.cell.slice
        groups.setdefault((part.dataset, part.split, part.n, result.cell.seed), []).append(result)
    if as_json:
        _print_json([_as_data(group) for group in groups.values()])
    for (dataset, split, n, seed), group in groups.items() if not as_json else ():
        if len(groups) > 1:
            print(f"{dataset} {split}, n={n}, seed {seed}")
        print_table(group, style, cost=cost)
    return 3 if any(result.outcome is None or isinstance(result.outcome, Failed) for result in stored) else 0


def _as_data(group: Sequence[Result]) -> dict[str, Any]:
    """A table as plain data: the lines of the leaderboard's CSV with numbers as numbers, and what is said below."""
    from bench.leaderboard import records
    from bench.tables import make_table

    part = group[0].cell.slice
    place = {"dataset": part.dataset, "split": part.split, "n": part.n, "seed": group[0].cell.seed}
    return {**place, "rows": records(group), "notes": list(make_table(group).notes)}


def _print_json(told: object) -> None:
    print(json.dumps(told, indent=1, ensure_ascii=False))


def findings(results: Path, chosen: Chosen) -> int:
    """Print every row of every check that is stored, flagged or not."""
    from tabulate import tabulate

    groups: dict[str, list[Finding]] = {}
    for result in chosen.of(_read(results)):
        label = result.cell.defense.label
        for found in result.findings:
            title = label if found.id.startswith("S") else f"{label} under {result.cell.threat}"
            rows = groups.setdefault(title, [])
            rows += [found] if found not in rows else []
    for title, rows in groups.items():
        body = [[row.id, row.verdict, row.value, row.threshold, row.message.partition(": ")[2]] for row in rows]
        print(f"{title}\n{tabulate(body, ['id', 'verdict', 'value', 'threshold', ''], disable_numparse=True)}\n")
    if not groups:
        raise BenchError(f"no checks in {str(results)!r}: run without --checks none")
    return 0


def curve(results: Path, chosen: Chosen, points: int, csv: Path | None) -> int:
    """Print robust accuracy against eps, or write it as CSV."""
    from bench import curves

    if not 1 <= points <= 100:
        raise BenchError(f"--points {points} is out of range: give 1 to 100")
    found = curves.curves(chosen.of(_read(results)), points)
    print(curves.render(found))
    if csv is not None:
        curves.write_csv(found, csv)
        print(f"\ncurves  {csv}")
    return 0


def leaderboard(results: Path, chosen: Chosen, csv: Path | None, *, as_json: bool = False) -> int:
    """Write the leaderboard as CSV, or print its ranks."""
    from bench import leaderboard as board

    stored = chosen.of(_read(results))
    if csv is not None:
        board.write_csv(stored, csv)
        print(f"leaderboard  {csv}")
        return 0
    if as_json:
        _print_json(board.ranks(stored))
        return 0
    print(board.render_ranking(stored))
    return 0


def gate(
    baseline: Path,
    results: Path,
    chosen: Chosen,
    alpha: float,
    min_effect: float,
    must_detect: float,
    allow_underpowered: bool,
    *,
    as_json: bool = False,
) -> int:
    """Compare two results folders; the status is the gate's."""
    from bench.gate import compare

    if not 0 < alpha < 0.5:
        raise BenchError(f"--alpha {alpha} is out of range: give more than 0 and less than 0.5")
    for name, share in (("--min-effect", min_effect), ("--must-detect", must_detect)):
        if not 0 <= share <= 1:
            raise BenchError(f"{name} {share} is out of range: give a share from 0 to 1, such as 0.05 for 5 points")
    report = compare(
        chosen.of(_read(baseline)),
        chosen.of(_read(results)),
        alpha=alpha,
        min_effect=min_effect,
        must_detect=must_detect,
        allow_underpowered=allow_underpowered,
    )
    if as_json:
        _print_json(report.to_json())
    else:
        print("\n".join(report.lines))
    return report.exit_code


def _read(folder: Path) -> list[Result]:
    if not folder.exists():
        raise BenchError(f"results folder {str(folder)!r} does not exist: fill it with 'bench run --results {folder}'")
    return Store(folder).results()
