"""The tables of a README: what was measured, which differences are real, and what becomes of the claims of a study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from page_file import Page, Pair, Shown, Tested

import bench
from bench.catalogue import study as studies
from bench.errors import BenchError, unknown
from bench.report.choice import places
from bench.report.claims import HOLDS, MISSING, OPEN, ClaimResult
from bench.report.plain import flat
from bench.report.render import ALARM, BOUND, Table, TableCell, render
from bench.report.tables import make_table
from bench.results.accuracy import defense_rows
from bench.results.comparison import Difference

# What only the whole table of a folder says, which its README links to.
_ELSEWHERE = ("made by different code", "worst cases and ranks are over the chosen attacks alone")
_FOOTNOTE = re.compile(r"\[(\d+)\] (.*)", re.S)


def part(results: bench.Results, n: int) -> bench.Results:
    """Return the results of one set of images.

    Raises:
        BenchError: there are several and `n` tells none apart, or none has as many images.
    """
    groups = results.groups()
    sizes = [group[0].cell.slice.n for group in groups]
    chosen = [group for group, size in zip(groups, sizes, strict=True) if n in (0, size)]
    if len(chosen) != 1:
        raise BenchError(f"n = {n} chooses {len(chosen)} of the sets of images here, of {sizes}: write n = one of them")
    return chosen[0]


def accuracies(results: bench.Results, shown: Shown) -> str:
    """Return a table of defenses by attacks, with the notes on its marks below it."""
    group = part(results, shown.n)
    if shown.defenses:
        group = group.only(defenses=shown.defenses)
    blocks = [_block(group, column) for column in shown.columns]
    rows = list(dict.fromkeys(key for block in blocks for key in _keyed(block)))
    footnotes: dict[str, int] = {}
    lines = [_keyed(block) for block in blocks]
    reasons = [_reasons(block) for block in blocks]
    body = tuple(
        (
            TableCell(*key),
            *(
                _renumbered(cell, told, footnotes)
                for block, line, told in zip(blocks, lines, reasons, strict=True)
                for cell in line.get(key, (TableCell("..."),) * (len(block.header) - 2))
            ),
        )
        for key in rows
    )
    head = (("defense",), *(names for block in blocks for names in block.header[2:]))
    notes = [note for block in blocks for note in block.notes if not _FOOTNOTE.match(note)]
    kept = [note for note in dict.fromkeys(notes) if not note.startswith(_ELSEWHERE)]
    kept += [f"[{number}] {reason}" for reason, number in footnotes.items()]
    size = group[0].cell.slice.n
    return markdown(Table(f"{size:,} test images", head, body, tuple(kept)), titled=True)


def _block(group: bench.Results, column: object) -> Table:
    """Return the table of one entry of `columns`."""
    if isinstance(column, str):
        return make_table(group.cells, column, strict=True)
    keys = {"head", "attacks", "column"}
    if not isinstance(column, Mapping) or set(column) != keys:
        raise BenchError(f"a column is a name or a table of {', '.join(sorted(keys))}, not {column!r}")
    table = make_table(group.only(attacks=column["attacks"]).cells, column["column"], strict=True)
    about = f"{flat(column['head'])}: {flat(column['column'])} over {flat(column['attacks'])} alone"
    return replace(table, header=(*table.header[:2], (flat(column["head"]),)), notes=(*table.notes, about))


def _keyed(table: Table) -> dict[tuple[str, str], Sequence[TableCell]]:
    """Return the numbers of each row by its defense and judge, without the number of images."""
    return {(row[0].text, row[0].detail): row[2:] for row in table.rows}


def _reasons(table: Table) -> dict[int, str]:
    found = (_FOOTNOTE.match(note) for note in table.notes)
    return {int(each[1]): each[2] for each in found if each}


def _renumbered(cell: TableCell, reasons: Mapping[int, str], footnotes: dict[str, int]) -> TableCell:
    return replace(cell, note=footnotes.setdefault(reasons[cell.note], len(footnotes) + 1)) if cell.note else cell


def compared(results: bench.Results, pairs: Sequence[Pair]) -> str:
    """Return a table of the differences of some pairs of defenses, each with its test."""
    body, notes = [], []
    for pair in pairs:
        sides = (TableCell(flat(pair.a)), TableCell(flat(pair.b)))
        for name in filter(None, (each.strip() for each in pair.columns.split(","))):
            found, why = differences(part(results, pair.n), pair.a, pair.b, name)
            body += [(*sides, *_difference(row, pair)) for row in found]
            body += [] if found else [(*sides, TableCell(flat(name)), *_nothing(5))]
            notes += [f"{flat(pair.a)} and {flat(pair.b)}: {flat(each)}" for each in why]
    held = [cell for row in body for cell in row]
    notes += [f"{BOUND} an upper bound, which cannot be the better one"] if any(each.bound for each in held) else []
    notes += [f"{ALARM} a check flags the number"] if any(each.alarmed for each in held) else []
    head = (("A",), ("B",), ("under",), ("accuracy", "of A"), ("of B",), ("A - B",), ("p",), ("which is better",))
    return markdown(Table("", head, tuple(body), tuple(dict.fromkeys(notes))), words=(1, 2, 7))


def differences(group: bench.Results, a: str, b: str, name: str) -> tuple[list[Difference], list[str]]:
    """Return the differences of two defenses in what a name stands for, and why numbers of that name are left out.

    Args:
        group: results of one set of images.
        a: the label of the first defense.
        b: the label of the second one.
        name: `standard`, `worst-unseen`, `autoattack`, `autoattack@Linf`, `autoattack@Linf:8/255`.

    Raises:
        BenchError: there is no such defense, or neither has a number of that name.
    """
    rows = {row.defense.label: row for row in defense_rows(group.cells)}
    for label in (a, b):
        if label not in rows:
            raise unknown("defense of these results", label, rows)
    known = {each for place in places(rows[a]) for each in place.names}
    if name not in known:
        raise unknown("column", name, known)
    blocked = [f"{label} has no number, a check blocks it: {'; '.join(rows[label].blocks)}" for label in (a, b)
               if rows[label].blocks]  # fmt: skip
    if blocked:
        return [], blocked
    comparison = group.compare(a, b)
    attack, _, threat = name.partition("@")
    left = [each for each in comparison.notes if each.startswith(f"{attack} (") and f"({threat}" in each]
    return [row for row in comparison.rows if name in _names(row)], left


def _names(row: Difference) -> tuple[str, ...]:
    """Return every name that chooses a number: `pgd-20`, `pgd-20@Linf` and `pgd-20@Linf:8/255`."""
    family = row.threat.partition(":")[0]
    return (row.name, f"{row.name}@{family}", f"{row.name}@{row.threat}") if row.threat else (row.name,)


def _difference(row: Difference, pair: Pair) -> tuple[TableCell, ...]:
    low, high = (100 * end for end in row.interval)
    verdict = {"A": flat(pair.a), "B": flat(pair.b)}.get(row.better, row.better)
    return (
        TableCell(row.name, row.threat),
        TableCell(f"{100 * row.a:.1f}", bound="A" in row.bounds, alarmed="A" in row.flagged),
        TableCell(f"{100 * row.b:.1f}", bound="B" in row.bounds, alarmed="B" in row.flagged),
        TableCell(f"{100 * row.difference:+.1f}", f"[{low:+.1f}, {high:+.1f}]"),
        TableCell(f"{row.adjusted:.2g}"),
        TableCell(verdict, _resolved(row.smallest) if row.better == "not separated" else ""),
    )


def _resolved(smallest: float) -> str:
    return "(no difference is resolved)" if smallest >= 1 else f"(resolved: {100 * smallest:.1f} points)"


def _nothing(columns: int) -> tuple[TableCell, ...]:
    return (TableCell("-"),) * columns


def tested(page: Page, claims_: Tested, results: bench.Results) -> list[ClaimResult]:
    """Return the claims of a study on the verdicts of its folder."""
    return part(results, claims_.n).claims(_study(page, claims_))


def title_of(page: Page, claims_: Tested) -> str:
    """Return the heading of some claims, by default the title of their study."""
    return escaped(claims_.title or studies.read(_study(page, claims_)).title)


def _study(page: Page, claims_: Tested) -> str:
    """Return how a study is to be read: by its name, or from a file of the repository."""
    return str(page.root / claims_.study) if claims_.study.endswith(".toml") else claims_.study


def claims(found: Sequence[ClaimResult]) -> str:
    """Return the table of some claims, with what each was tested on below it."""
    head = ("claim", "attacked as", "better", "worse", "difference", "p", "verdict", "resolved")
    body = tuple(_claim(each) for each in found)
    notes = [f"{flat(_label(each))}: {_sides(each)}" for each in found]
    notes += [f"{ALARM} a check flags the number; see the table of the folder"] if any(map(_flags, found)) else []
    return markdown(Table("", tuple((each,) for each in head), body, tuple(notes)), words=(1, 6))


def _claim(each: ClaimResult) -> tuple[TableCell, ...]:
    named = (TableCell(flat(each.claim.name)), TableCell(flat(each.protocol)))
    if each.better is None or each.worse is None:
        return (*named, *_nothing(4), TableCell(each.verdict), TableCell("-"))
    better, worse = (
        TableCell(f"{100 * held.value:.1f}", alarmed=label in each.flagged)
        for held, label in ((each.better, each.claim.better), (each.worse, each.claim.worse))
    )
    numbers = (TableCell(f"{100 * each.difference:+.1f}"), TableCell(f"{each.p:.2g}"))
    smallest = TableCell("-" if each.smallest >= 1 else f"{100 * each.smallest:.1f}")
    return (*named, better, worse, *numbers, TableCell(each.verdict), smallest)


def _label(each: ClaimResult) -> str:
    return f"{each.claim.name}, {each.protocol}" if each.protocol else each.claim.name


def _sides(each: ClaimResult) -> str:
    sides = f"{flat(each.claim.better)} against {flat(each.claim.worse)}"
    if each.reason:
        return f"{sides}, {MISSING}: {flat(each.reason)}"
    return f"{sides}, n={each.n}, {' + '.join(map(flat, each.attacks)) or 'without attack'}"


def _flags(each: ClaimResult) -> bool:
    return bool(each.flagged)


def said(each: ClaimResult) -> TableCell:
    """Return the verdict of a claim and its difference in points, for a summary."""
    if each.better is None:
        return TableCell(each.verdict)
    points = f"{100 * each.difference:+.1f}"
    resolved = "" if each.verdict != OPEN or each.smallest >= 1 else f" (resolved: {100 * each.smallest:.1f})"
    return TableCell(f"{each.verdict}, {points}{resolved}", alarmed=bool(each.flagged), best=each.verdict == HOLDS)


def markdown(table: Table, *, titled: bool = False, words: Sequence[int] = ()) -> str:
    """Return a table as Markdown in which no name can become a tag, a link or another cell.

    Args:
        table: the table, whose texts are on one line each.
        titled: whether its title stands above it.
        words: the columns of words besides the first one, which begin at the left.
    """
    title, head, *rest = render(table, "markdown").split("\n\n")
    lines = head.split("\n")
    aligned = [":---" if at in (0, *words) else "---:" for at in range(len(table.header))]
    lines[1] = f"| {' | '.join(aligned)} |"
    return "\n\n".join([*([title] if titled else []), "\n".join(lines), *rest]).strip()


def escaped(text: str) -> str:
    """Return a text on one line that Markdown shows as it is."""
    return markdown(Table("", ((flat(text),),), (), ())).splitlines()[0][2:-2] if text else ""
