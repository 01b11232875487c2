"""Every cell of the page as one table, which the bundle of itables makes sortable where there is JavaScript.

The table is plain HTML in the page: it is whole without a script, `data-order` tells how to sort it, and each row has
the anchor of its key. itables' own renderings of a data frame have none of these, and need either `eval` or the table
twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.report.page.matrix import interval
from bench.report.plain import flat
from bench.results.accuracy import defense_rows
from bench.results.cell import Result
from bench.results.judging import Accuracy

# Rows of one cell: an attack, one that knew the draws, an archive of others, or a corruption, which no adversary chose.
_CELLS = ("attack", "known-draws", "import", "corruption")
_EXPORTS = re.compile(r"export\s*\{([^{}]*)\}\s*;?")
_ITABLE = re.compile(r"([\w$]+)\s+as\s+ITable\b")


@dataclass(frozen=True)
class CellRow:
    """A cell as one judge sees it.

    Attributes:
        accuracy, interval: in percent; empty where there is no number.
        order: what the accuracy is sorted by; -1 where there is none.
        forwards, backwards: per example; empty where not counted.
        seconds: of all its images, empty where not stored.
        checks: ids of the findings that flag or block it.
        key: of the cell; empty where it was never asked for.
        anchor: the first 16 digits of the key, on the first row of a cell.
    """

    defense: str
    judged: str
    attack: str
    threat: str
    seen: str
    accuracy: str
    interval: str
    order: float
    outcome: str
    reason: str
    forwards: str
    backwards: str
    seconds: str
    checks: str
    key: str
    anchor: str


def cell_rows(results: Sequence[Result], lines: Sequence[Mapping[str, str]]) -> list[CellRow]:
    """Return a row for each cell and judge: mean-of-N and worst-of-N of a stochastic defense.

    Args:
        results: on one set of images.
        lines: of the same cells, as of `bench.results.frame.rows`.
    """
    exact = _exact(results)
    found, there = [], set()
    for line in lines:
        if line["column"] not in _CELLS or line["judged"].startswith("majority") or "resubmission" in line["judged"]:
            continue
        # From the lines it is known whether there is a number; rounded to two digits there, it is not rounded again.
        accuracy = exact[_place(line)] if line["accuracy"] else None
        key = line["key"]
        found.append(
            CellRow(
                line["defense"],
                line["judged"],
                line["attack"],
                line["threat"],
                line["seen"],
                f"{100 * accuracy.value:.1f}" if accuracy else "",
                interval(*accuracy.interval) if accuracy else "",
                round(100 * accuracy.value, 4) if accuracy else -1.0,
                line["outcome"],
                flat(line["reason"]),
                line["forwards_per_example"],
                line["backwards_per_example"],
                f"{float(line['seconds']):.1f}" if line["seconds"] else "",
                line["checks"],
                key,
                key[:16] if key not in there else "",
            )
        )
        there.add(key)
    return found


def _exact(results: Sequence[Result]) -> dict[tuple[str, ...], Accuracy | None]:
    """Return every accuracy under one attack or corruption by where it stands."""
    found: dict[tuple[str, ...], Accuracy | None] = {}
    for row in defense_rows(results):
        for judge in row.judges:
            for column in row.columns:
                shift = column.threat.is_shift
                score = row.corrupted([column], judge) if shift else row.score(column, judge)
                place = (row.defense.label, str(row.seed), judge.name, column.attack, str(column.threat))
                found[place] = score.accuracy
    return found


def _place(line: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(line[name] for name in ("defense", "seed", "judged", "attack", "threat"))


def script(own: str) -> str:
    """Return the one script of the page: the bundle of itables, and our own lines, which know it as `ITable`.

    An export has no meaning in a script within a page, so the bundle's last statement is replaced.

    Raises:
        BenchError: this version of itables has another bundle.
    """
    from itables.utils import find_package_file

    bundle = Path(find_package_file("html/dt_bundle.js")).read_text(encoding="utf-8")
    exports = _EXPORTS.search(bundle)
    known = _ITABLE.search(exports[1]) if exports else None
    if exports is None or known is None:
        raise BenchError("this version of itables exports no ITable: pip install 'itables>=2.9,<3'")
    whole = f"{bundle[: exports.start()]}const ITable = {known[1]};{bundle[exports.end() :]}\n{own}"
    # The end tag would end the script wherever it stood, in a string or a comment, too.
    return re.sub(r"</(?=script)", r"<\\/", whole, flags=re.IGNORECASE)
