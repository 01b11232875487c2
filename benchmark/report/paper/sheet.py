"""A table as LaTeX pieces of known width: rows of several lines, columns in groups, blocks that fit a width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from bench.report.paper.text import IDLE, LEQ, SEEN, Piece, is_threat, measured, number, plain, threat, widest, wrapped
from bench.report.render import ALARM, Table, TableCell

# The widest that the name of a row or of a column may be before it is broken into lines, in points at ten points.
_ROW, _HEAD = 82.0, 66.0
_BOLD = 1.16
# The kinds of columns in their order, and those of them whose columns belong to a threat model.
_WORST = "worst case"
_GROUPS = ("", "seen", "unseen", _WORST, "draws known", "corruptions", "archives")
_THREATENED = ("", "seen", "unseen", "draws known", "archives")

Cell = tuple[Piece, Piece | None]


@dataclass(frozen=True)
class Line:
    """A row of the table: a name of one or more lines, and a value with its interval in each column."""

    name: tuple[Piece, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Head:
    """What stands above a column.

    Attributes:
        group: seen, unseen, worst case, draws known, corruptions or archives.
        threat: its threat model, shared with its neighbors; empty if it has none.
        name: of the attack, on one or more lines.
    """

    group: str
    threat: Piece
    name: tuple[Piece, ...]


@dataclass(frozen=True)
class Sheet:
    """A table that is ready to be set.

    Attributes:
        corner: the name of the first column.
        heads: one for each further column.
        sections: the rows, each part with a title that may be empty.
    """

    corner: str
    heads: tuple[Head, ...]
    sections: tuple[tuple[Piece, tuple[Line, ...]], ...]

    @property
    def lines(self) -> Iterator[Line]:
        for _, lines in self.sections:
            yield from lines


def upright(table: Table) -> Sheet:
    """Return the sheet with defenses as rows, its columns ordered by group and by threat model."""
    order = _order(table)
    groups = [_group(table, at) for at in order]
    heads = []
    for at, group in zip(order, groups, strict=True):
        under = _under(table, at)
        above = tuple(piece for own in _own(table, at) for piece in _attack_name(own, table, _HEAD))
        heads.append(Head(group, threat(under) if under else Piece("", 0.0), above))
    lines = tuple(Line(tuple(_row_name(row[0])), tuple(_cell(row[at]) for at in order)) for row in table.rows)
    return Sheet(_corner(table), tuple(heads), ((Piece("", 0.0), lines),))


def rotated(table: Table) -> Sheet:
    """Return the sheet with defenses as columns and attacks as rows, in sections by group and threat model."""
    order = _order(table)
    heads = tuple(Head("", Piece("", 0.0), tuple(_row_name(row[0], _HEAD))) for row in table.rows)
    sections = []
    for (group, under), places in groupby(order, lambda at: (_group(table, at), _under(table, at))):
        lines = [
            Line(
                tuple(_attack_name(" ".join(_own(table, at)), table, _ROW)), tuple(_cell(row[at]) for row in table.rows)
            )
            for at in places
        ]
        sections.append((_section(group, under), tuple(lines)))
    return Sheet("", heads, tuple(sections))


def blocks(sheet: Sheet, room: float, gap: float, factor: float, small: float) -> list[Sheet] | None:
    """Cut a sheet into blocks of columns that fit a width, about equally wide; `None` if a single column does not.

    Args:
        sheet: what to cut.
        room: the width, in points.
        gap: between two columns, in points.
        factor: the size of its letters, as a share of ten points.
        small: the size of its intervals, likewise.
    """
    count = len(sheet.heads)
    for number_ in range(1, count + 1):
        edges = [round(count * part / number_) for part in range(number_ + 1)]
        cut = [_columns(sheet, range(low, high)) for low, high in pairwise(edges)]
        if all(width(block, gap, factor, small) <= room for block in cut):
            return cut
    return None if count else [sheet]


def width(sheet: Sheet, gap: float, factor: float, small: float) -> float:
    """Return how wide a sheet becomes, in points: never less than LaTeX makes it."""
    names = max((widest(line.name) * factor for line in sheet.lines), default=0.0)
    wide = []
    for at, head in enumerate(sheet.heads):
        cells = [line.cells[at] for line in sheet.lines]
        values = [value.width * factor for value, _ in cells]
        details = [detail.width * small for _, detail in cells if detail is not None]
        wide.append(max(widest(head.name) * factor, *values, *details))
    total = max(names, measured(sheet.corner) * factor) + sum(wide) + gap * len(wide)
    # A title over several columns widens the last of them where they are narrower together.
    groups, threats = [plain(head.group) for head in sheet.heads], [head.threat for head in sheet.heads]
    for titles in (groups, threats):
        for start, stop in spans([title.latex for title in titles]):
            own = sum(wide[start:stop]) + gap * (stop - start - 1)
            total += max(0.0, titles[start].width * factor - own)
    return max(total, *(title.width * factor for title, _ in sheet.sections))


def spans(titles: Sequence[str]) -> list[tuple[int, int]]:
    """Return the runs of equal titles that are next to each other, as ranges."""
    edges = [at for at in range(len(titles)) if at == 0 or titles[at] != titles[at - 1]]
    return list(pairwise([*edges, len(titles)]))


def _columns(sheet: Sheet, places: Sequence[int]) -> Sheet:
    heads = tuple(sheet.heads[at] for at in places)
    sections = tuple(
        (title, tuple(replace(line, cells=tuple(line.cells[at] for at in places)) for line in lines))
        for title, lines in sheet.sections
    )
    return replace(sheet, heads=heads, sections=sections)


def _order(table: Table) -> list[int]:
    """Return the columns by group, and within a group by threat model, otherwise as they are."""
    places = [at for at in range(1, len(table.header)) if at not in table.about]
    threats = list(dict.fromkeys(_under(table, at) for at in places))
    return sorted(places, key=lambda at: (_GROUPS.index(_group(table, at)), threats.index(_under(table, at))))


def _group(table: Table, at: int) -> str:
    return table.groups[at] if table.groups else ""


def _under(table: Table, at: int) -> str:
    """Return the threat model of a column; empty if it has none."""
    header = table.header[at]
    if len(header) < 2 or _group(table, at) not in _THREATENED:
        return ""
    # A table without kinds of columns may write any name on two lines, such as `adjusted p`.
    return header[1] if table.groups or is_threat(header[1]) else ""


def _own(table: Table, at: int) -> tuple[str, ...]:
    """Return the lines that name a column: a worst case says over which attacks it is, an attack its first line."""
    header = table.header[at]
    if table.groups:
        return header[1:2] if _group(table, at) == _WORST else header[:1]
    return header[:1] if _under(table, at) else header


def _section(group: str, under: str) -> Piece:
    title = plain(group)
    if not under:
        return Piece(rf"\emph{{{title.latex}}}" if group else "", title.width)
    model = threat(under)
    before = rf"\emph{{{title.latex}}}: " if group else ""
    return Piece(before + model.latex, title.width + 6.2 + model.width)


def _corner(table: Table) -> str:
    return table.header[0][0]


def _row_name(cell: TableCell, room: float = _ROW) -> list[Piece]:
    # That a defense is deterministic goes without saying; how a stochastic one is judged does not.
    judged = "" if cell.detail == "(deterministic)" else cell.detail
    return [*_name(cell.text, room), *(_name(judged, room) if judged else [])]


def _attack_name(text: str, table: Table, room: float) -> list[Piece]:
    # The mark of an attack without power, which the table puts behind its name and explains; a name may end so, too.
    idle = text.endswith("~") and any(note.startswith(f"~ {text[:-1]} ") for note in table.notes)
    lines = _name(text[:-1] if idle else text, room)
    if idle:
        lines[-1] = Piece(lines[-1].latex + IDLE, lines[-1].width + 6)
    return lines


def _name(text: str, room: float) -> list[Piece]:
    return [plain(line) for line in wrapped(text, room)]


def _cell(cell: TableCell) -> Cell:
    if cell.text in ("-", "..."):
        # Reasons stand in the comments: numbered notes would be most of a narrow table.
        return Piece({"-": "--", "...": r"\ldots"}[cell.text], 12.0), None
    value = number(cell.text)
    if cell.best:
        value = Piece(rf"\textbf{{{value.latex}}}", value.width * _BOLD)
    before = LEQ if cell.bound else ""
    marks = (SEEN if cell.seen else "") + (ALARM if cell.alarmed else "")
    wide = value.width + 8 * cell.bound + 5 * cell.seen + 3 * cell.alarmed
    detail = number(cell.detail) if cell.detail.startswith("[") else plain(cell.detail) if cell.detail else None
    return Piece(f"{before}{value.latex}{marks}", wide), detail
