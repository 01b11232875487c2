"""Tables without a look, and their rendering on the screen, in Markdown, in LaTeX and in HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.errors import unknown
from bench.report.columns import fitting_name, folded, prose

STYLES = ("screen", "plain", "grid", "markdown", "latex", "html")


SEEN = "*"


BOUND = "<="


ALARM = "!"


@dataclass(frozen=True)
class TableCell:
    """One place of a table.

    Attributes:
        text: `54.7`, `FAIL`, `...`, `-`, or the name of a defense.
        detail: `[46.1, 63.0]`, or how a defense is judged; a second line on the screen.
        seen: whether the value belongs to a threat seen in training.
        bound: whether the value is only an upper bound.
        note: number of a footnote, 0 for none.
        alarmed: whether a check flags the value.
        best: whether nothing in its column is better, as far as the images tell.
    """

    text: str
    detail: str = ""
    seen: bool = False
    bound: bool = False
    note: int = 0
    alarmed: bool = False
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table independent of its rendering; the first column names the row.

    Attributes:
        title: names the examples.
        header: per column one or two lines: an attack and its threat.
        rows: as many cells as the header has columns.
        notes: remarks for the reader, footnotes included.
        about: the columns that say what was measured, not the result. On the screen, such a column is left out
            and named in the title if every row has the same value.
        groups: the kind of each column, such as seen or unseen; empty if there are no kinds.
        left_out: columns of stored attacks that are not part of it, and so not of its worst cases.
        caption: what a paper might write beneath it, and the name of its label; plain text.
    """

    title: str
    header: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[TableCell, ...], ...]
    notes: tuple[str, ...]
    about: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    left_out: int = 0
    caption: tuple[str, str] = ("Robust accuracy in percent.", "robustness")


def render(
    table: Table,
    style: str = "screen",
    width: int | None = None,
    *,
    fit: str = "page",
    rotate: bool = False,
    split: bool = False,
) -> str:
    """Return the table as text, without a newline at its end.

    Args:
        table: the table.
        style: `screen` (also called `plain`), `grid`, `markdown`, or `latex` (needs the booktabs package).
        width: the terminal's, for `screen` and `grid`: the columns are folded into blocks that fit it.
        fit: for `latex`, the width that it must fit: `column`, `page` or points.
        rotate: for `latex`, make the rows columns.
        split: for `latex`, cut it into several tabulars rather than make its letters smaller.
    """
    if style == "markdown":
        return _markdown(table)
    if style == "latex":
        from bench.report.paper.latex import draw

        return draw(table, fit, rotate=rotate, split=split)
    if style == "html":
        return _html(table)
    if style in ("screen", "plain", "grid"):
        return _screen(table, "grid" if style == "grid" else "simple", width)
    raise unknown("table style", style, STYLES)


def _screen(table: Table, look: str, width: int | None) -> str:
    from tabulate import tabulate

    def draw(columns: Sequence[int]) -> str:
        header = ["\n".join(table.header[i]) for i in columns]
        body = [[_stacked(row[i], width if i == 0 else None) for i in columns] for row in table.rows]
        align = ["left" if i == 0 else "right" for i in columns]
        # Numbers are text already: tabulate must not round them or align them at the point.
        text = tabulate(body, header, tablefmt=look, disable_numparse=True, colalign=align)
        return "\n".join(line.rstrip() for line in text.split("\n"))

    # A column with one value wastes width that the numbers need.
    repeated = [i for i in table.about if len({row[i].text for row in table.rows}) == 1]
    shown = [i for i in range(len(table.header)) if i not in repeated]
    said = [f"{' '.join(table.header[i])}={table.rows[0][i].text}" for i in repeated]
    blocks = folded(len(shown), 1, lambda columns: draw([shown[i] for i in columns]), width)
    notes = [prose(note, width) for note in table.notes]
    return "\n\n".join([", ".join([table.title, *said]), *blocks, "\n".join(notes)])


def _stacked(cell: TableCell, width: int | None) -> str:
    first = fitting_name(_marked(cell, f"{BOUND} ", SEEN, "[{}]"), width)
    return f"{first}\n{cell.detail}" if cell.detail else first


def _marked(cell: TableCell, bound: str, seen: str, note: str, escape: Callable[[str], str] = lambda text: text) -> str:
    before = bound if cell.bound else ""
    marks = (seen if cell.seen else "") + (ALARM if cell.alarmed else "")
    after = marks + (f" {note.format(cell.note)}" if cell.note else "")
    return f"{before}{escape(cell.text)}{after}"


def _bold(cell: TableCell, how: str, text: str) -> str:
    return how.format(text) if cell.best else text


def _markdown(table: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    lines = [
        f"**{_markdown_text(table.title)}**",
        "",
        row(["<br>".join(map(_markdown_text, names)) for names in table.header]),
        row([":---", *["---:"] * (len(table.header) - 1)]),
    ]
    for cells in table.rows:
        shown = [
            (
                _bold(cell, "**{}**", _marked(cell, "&lt;= ", r"\*", "[{}]", _markdown_text)),
                _markdown_text(cell.detail),
            )
            for cell in cells
        ]
        lines.append(row([" ".join(filter(None, parts)) for parts in shown]))
    lines += ["", *(f"- {_markdown_text(note)}" for note in table.notes)]
    return "\n".join(lines)


def _markdown_text(text: str) -> str:
    for char in "\\|*_`~":
        text = text.replace(char, f"\\{char}")
    # A label comes from a user and must not become a tag or a link.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("](", r"]\(")


def _html(table: Table) -> str:
    """Return a plain HTML table, which takes its style from the notebook around it."""

    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"

    head = row(["<br>".join(map(html.escape, names)) for names in table.header], "th")
    body = []
    for cells in table.rows:
        shown = [
            (
                _bold(cell, "<b>{}</b>", _marked(cell, "&le; ", "*", "[{}]", html.escape)),
                html.escape(cell.detail),
            )
            for cell in cells
        ]
        body.append(row(["<br>".join(filter(None, parts)) for parts in shown], "td"))
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    caption = f"<caption>{html.escape(table.title)}</caption>"
    return f"<table>{caption}<thead>{head}</thead><tbody>{''.join(body)}</tbody></table><ul>{notes}</ul>"
