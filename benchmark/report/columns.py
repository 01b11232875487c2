"""Layout of text on the screen: wrapped columns, tables folded into blocks, prose broken between words.

Nothing is cut. Without a terminal, as in a pipe or a file, lines are as long as their text.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence

# The width of tables and of prose without a terminal.
PAGE = 120
# A last column narrower than this is hard to read: it goes beneath its row instead.
_READABLE = 36
_NARROWEST = 20
_GAP = 2


def screen_width(otherwise: int | None = None) -> int | None:
    """Return COLUMNS, else the terminal's width, else `otherwise`; `None` means no bound."""
    # (0, 0) instead of the usual 80: a pipe has no width that lines must fit.
    columns = shutil.get_terminal_size((0, 0)).columns
    return max(columns, _NARROWEST) if columns > 0 else otherwise


def prose(text: str, width: int | None, hang: str = "  ") -> str:
    """Wrap each line of a text by itself; continuation lines are indented by `hang` more.

    A word is not broken, even at hyphens, if it fits a line: users copy names and commands from the screen.
    """
    return text if width is None else "\n".join(_prose(line, width, hang) for line in text.split("\n"))


def _prose(line: str, width: int, hang: str) -> str:
    return "\n".join(_wrapped(line, width, subsequent_indent=_indent(line) + hang))


def paragraphs(text: str, width: int | None, indent: str = "") -> str:
    """Indent a docstring, and join and wrap its lines again, paragraph by paragraph, to fit the width."""
    if width is None:
        return textwrap.indent(text, indent)
    lines: list[str] = []
    together: list[str] = []

    def finish() -> None:
        if together:
            deep = indent + _indent(together[0])
            joined = " ".join(line.strip() for line in together)
            lines.extend(_wrapped(joined, width, initial_indent=deep, subsequent_indent=deep))
            together.clear()

    for line in text.split("\n"):
        # A change of indent begins another paragraph, so lists and examples keep their shape.
        if together and (not line.strip() or _indent(line) != _indent(together[0])):
            finish()
        if line.strip():
            together.append(line)
        else:
            lines.append("")
    finish()
    return "\n".join(lines)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _wrapped(text: str, width: int, initial_indent: str = "", subsequent_indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_on_hyphens=False,
    )


def fitting_name(name: str, width: int | None) -> str:
    """Wrap the name of a row to at most half of the screen, because the path of a user's file may be long."""
    return name if width is None else "\n".join(_wrapped(name, max(width // 2, _NARROWEST)))


def folded(count: int, named: int, draw: Callable[[Sequence[int]], str], width: int | None) -> list[str]:
    """Draw a table as blocks that fit: each has the first `named` of `count` columns and as many others as fit.

    Args:
        count: how many columns there are.
        named: how many of them identify a row; every block begins with these.
        draw: returns the text of the columns it is given.
        width: of the screen; `None` for one block however wide.
    """
    names = list(range(named))
    blocks: list[list[int]] = []
    for index in range(named, count):
        wider = [*blocks[-1], index] if blocks else []
        # Drawn to be measured, because wrapped cells make the width of a column hard to compute.
        if wider and (width is None or _widest(draw(wider)) <= width):
            blocks[-1] = wider
        else:
            blocks.append([*names, index])
    return [draw(block) for block in blocks or [names]]


def draw_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    *,
    right: Collection[int] = (),
    text: Collection[int] = (),
    named: int = 1,
) -> str:
    """Draw a table with a rule beneath its header, with no line wider than `width` if possible.

    Args:
        header: the title of each column.
        rows: the texts of each row.
        width: of the screen; `None` for no bound.
        right: the columns of numbers.
        text: the columns of prose, which wrap inside themselves before columns are folded into blocks.
        named: how many columns name the row.
    """
    lines = [[fitting_name(row[0], width), *row[1:]] for row in rows]

    def draw(columns: Sequence[int]) -> str:
        chosen = [[row[i] for i in columns] for row in (header, *lines)]
        prosaic = [place for place, i in enumerate(columns) if i in text]
        caps = _caps(chosen, prosaic, width) if width is not None else {}
        cells = [
            [_wrapped(cell, caps[i]) if i in caps else cell.split("\n") for i, cell in enumerate(row)] for row in chosen
        ]
        sizes = [max(len(line) for row in cells for line in row[i]) for i in range(len(columns))]
        flush = [i in right for i in columns]
        head, *body = [_row(row, sizes, flush) for row in cells]
        return "\n".join([*head, _join("-" * size for size in sizes), *(line for row in body for line in row)])

    return "\n\n".join(folded(len(header), named, draw, width))


def _row(cells: Sequence[Sequence[str]], sizes: Sequence[int], flush: Sequence[bool]) -> list[str]:
    """Return the lines of a row whose cells have several lines each."""
    lines = []
    for depth in range(max(1, *map(len, cells))):
        texts = [cell[depth] if depth < len(cell) else "" for cell in cells]
        parts = zip(texts, sizes, flush, strict=True)
        lines.append(_join(text.rjust(size) if right else text.ljust(size) for text, size, right in parts))
    return lines


def _join(cells: Iterable[str]) -> str:
    return (" " * _GAP).join(cells).rstrip()


def _caps(rows: Sequence[Sequence[str]], text: Collection[int], width: int) -> dict[int, int]:
    """Return the width that each column of prose may have; the widest shrinks first."""
    sizes = [max(_widest(row[i]) for row in rows) for i in range(len(rows[0]))]
    # A column cannot be narrower than its longest word.
    least = {i: max((len(word) for row in rows for word in row[i].split()), default=0) for i in text}
    caps = {i: max(sizes[i], 1) for i in text}
    room = width - _GAP * (len(sizes) - 1) - sum(size for i, size in enumerate(sizes) if i not in caps)
    while sum(caps.values()) > room:
        shrinking = [i for i in caps if caps[i] > max(least[i], _NARROWEST)]
        if not shrinking:
            break
        caps[max(shrinking, key=lambda i: caps[i])] -= 1
    return caps


def draw_listing(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, right: Collection[int] = ()
) -> str:
    """Draw rows of text; the last column is wrapped, or placed beneath its row if it would be too narrow."""
    last = len(header) - 1
    sizes = [max(len(row[i]) for row in (header, *rows)) for i in range(last)]
    before = sum(sizes) + _GAP * last
    gap = " " * _GAP
    lines: list[str] = []
    for row in (header, *rows):
        cells = [row[i].rjust(size) if i in right else row[i].ljust(size) for i, size in enumerate(sizes)]
        start = gap.join([*cells, ""])
        if width is None:
            lines.append((start + row[last]).rstrip())
        elif width - before >= _READABLE:
            wrapped = _wrapped(row[last], width - before) or [""]
            lines += [(start + wrapped[0]).rstrip(), *(" " * before + more for more in wrapped[1:])]
        else:
            deep = 2 * gap
            lines.append(prose(start.rstrip(), width))
            lines += _wrapped(row[last], width, initial_indent=deep, subsequent_indent=deep)
    return "\n".join(lines)


def _widest(drawn: str) -> int:
    return max(map(len, drawn.split("\n")))
