"""The summary of claims: which of them hold, under which protocol, on which dataset, network and kind of purifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import page_tables
from page_file import Page, Tested
from page_training import made_of

import bench
from bench.report.claims import ClaimResult
from bench.report.plain import flat
from bench.report.render import ALARM, Table, TableCell

_WRITTEN = {"atop": "AToP", "ap": "AP", "at": "AT"}
_ON = {
    "seen": "above {} on seen attacks",
    "unseen": "above {} on unseen attacks",
    "standard": "standard accuracy above {}'s",
}


@dataclass(frozen=True)
class Verdicts:
    """The claims of one study on one folder.

    Attributes:
        page: the page that shows them.
        tested: what it says of them.
        found: each claim under each protocol.
        made_of: the architectures of each defense that is claimed to be better, by label.
    """

    page: Page
    tested: Tested
    found: tuple[ClaimResult, ...]
    made_of: Mapping[str, str]


def collected(pages: Sequence[Page], load: Callable[[Path], bench.Results]) -> list[Verdicts]:
    """Return the claims of all pages, in their order."""
    verdicts = []
    for page in pages:
        for tested in page.claims:
            results = load(page.verdicts_of(tested))
            found = tuple(page_tables.tested(page, tested, results))
            better = dict.fromkeys(each.claim.better for each in found)
            verdicts.append(Verdicts(page, tested, found, {label: made_of(label, results) for label in better}))
    return verdicts


def overview(verdicts: Sequence[Verdicts], link: str) -> str:
    """Return one row for each folder and purifier, one column for each claim under each protocol.

    Args:
        verdicts: of `collected`.
        link: where the page of a folder is, from the file that shows the table: `results/{}/README.md`.
    """
    columns = dict.fromkeys(_column(each) for one in verdicts for each in one.found)
    head = (("where",), ("defense",), ("n",), *columns)
    body = []
    for one in verdicts:
        for label in one.made_of:
            mine = {_column(each): each for each in one.found if each.claim.better == label}
            sizes = sorted({each.n for each in mine.values() if each.n})
            body.append(
                (
                    TableCell(flat(one.page.title)),
                    TableCell(flat(label), f"({one.made_of[label]})"),
                    TableCell(" or ".join(f"{n:,}" for n in sizes) or "-"),
                    *(page_tables.said(mine[key]) if key in mine else TableCell("-") for key in columns),
                )
            )
    notes = (
        [f"{ALARM} a check flags one of the numbers"] if any(each.flagged for o in verdicts for each in o.found) else []
    )
    table = page_tables.markdown(Table("", head, tuple(body), tuple(notes)), words=(1, *range(3, len(head))))
    for page in {one.page.title: one.page for one in verdicts}.values():
        # After the names were made harmless: the only links of the table are ours.
        cell = page_tables.escaped(page.title)
        table = table.replace(f"| {cell} |", f"| [{cell}]({link.format(page.folder.name)}) |")
    return table


def _column(each: ClaimResult) -> tuple[str, ...]:
    """Return the head of the column that a claim stands in: what it says, whatever the names of the defenses."""
    other = each.claim.worse.partition("[")[0].partition("-")[0].partition("#")[0]
    claim = _ON[each.claim.on].format(_WRITTEN.get(other, flat(each.claim.worse)))
    return (claim, flat(each.protocol)) if each.protocol else (claim,)
