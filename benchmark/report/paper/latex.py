"""LaTeX tables that fit: letters, gaps and the number of tabulars are chosen by the width that there is.

The source needs the booktabs package and nothing else. It is to be included within `table` or `table*`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.report import widths
from bench.report.paper.sheet import Line, Sheet, blocks, rotated, spans, upright
from bench.report.paper.text import LEQ, SEEN, Piece, escaped, wrapped
from bench.report.render import ALARM, Table

_NARROWEST = 120.0
# From here on the bodies of floats are too high for a page.
_HIGHEST = 560.0
# The longest note, in characters, that a paper has room for.
_BRIEF = 120


@dataclass(frozen=True)
class _Size:
    """Letters of a table: their command, the command of the intervals, and both as shares of ten points."""

    letters: str
    intervals: str
    factor: float
    small: float
    gap: float
    skip: float


# Computer Modern is relatively wider the smaller it is; the factors are those of its digits.
_SIZES = (
    _Size("small", "scriptsize", 0.925, 0.80, 7.0, 11.0),
    _Size("footnotesize", "scriptsize", 0.85, 0.80, 5.0, 9.5),
    _Size("scriptsize", "scriptsize", 0.80, 0.80, 4.0, 8.5),
)
_MARKS = {
    SEEN: "trained on this threat model at this size or a larger one",
    LEQ: "an upper bound, since cells failed, are missing or found no gradient",
    ALARM: "flagged by a check",
    "--": "not applicable",
    r"\ldots": "not computed yet",
    "FAIL": "the attack or the defense crashed, no number",
    "BLOCK": "a check forbids a number",
    r"$^{\sim}$": "an attack without power on these images",
}

_ARCHIVES = (
    "Archives: examples that others made against one defense (import:), and per image the worst over them and the "
    "attacks here under that threat model (best known)."
)


def points(fit: str) -> float:
    """Return a width in points from `column`, `page` or a number.

    Raises:
        BenchError: it is none of these, or too narrow for any table.
    """
    width = widths.points(fit)
    if width is None:
        raise BenchError(f"--fit {fit!r} is no width: write column, page, or points such as 397 (\\showthe\\linewidth)")
    if width < _NARROWEST:
        raise BenchError(f"--fit {fit!r} is too narrow for a table: give at least {_NARROWEST:.0f} points")
    return width


def draw(table: Table, fit: str = "page", *, rotate: bool = False, split: bool = False) -> str:
    """Return a table as LaTeX that is no wider than `fit`.

    The letters become smaller, down to scriptsize, as long as that lets the columns stand side by side. Then the
    columns are cut into several tabulars, one beneath the other.

    Args:
        table: accuracies or costs.
        fit: `column`, `page` or a width in points.
        rotate: make defenses the columns, and attacks the rows.
        split: cut into several tabulars before making the letters smaller.

    Raises:
        BenchError: the width is none, or not even one column fits.
    """
    room = points(fit)
    sheet = rotated(table) if rotate else upright(table)
    size, parts = _fitted(sheet, room, split=split)
    body = "\n\\par\\medskip\n".join(_tabular(part, size) for part in parts)
    return "\n".join(
        [
            *_preamble(table, fit, room, parts, size),
            rf"\begingroup\{size.letters}",
            *_gaps(size),
            body,
            *_notes(table, body, rotate=rotate),
            r"\endgroup",
            *_comments(table),
        ]
    )


def _fitted(sheet: Sheet, room: float, *, split: bool) -> tuple[_Size, list[Sheet]]:
    tried = [(size, blocks(sheet, room, size.gap, size.factor, size.small)) for size in _SIZES]
    there = [(size, parts) for size, parts in tried if parts is not None]
    if not there:
        raise BenchError(f"not one column fits into {room:.0f} points: leave out the intervals, or give a wider --fit")
    if split:
        return there[0]
    # The fewest tabulars, and of those the largest letters; the smallest letters only where they save tabulars.
    return min(there, key=lambda each: len(each[1]))


def _gaps(size: _Size) -> list[str]:
    return [rf"\setlength{{\tabcolsep}}{{{size.gap / 2:g}pt}}\setlength{{\parindent}}{{0pt}}"]


def _preamble(table: Table, fit: str, room: float, parts: Sequence[Sheet], size: _Size) -> list[str]:
    said, label = table.caption
    float_ = "table" if fit == "column" else "table*"
    lines = [
        f"% {_comment(table.title)}; needs \\usepackage{{booktabs}}; fits {room:g} pt ({_comment(fit)})",
        f"% \\begin{{{float_}}}[t]\\centering",
        "%   \\input{table}  % this file; for another width: --fit and the points that \\the\\linewidth prints",
        f"%   \\caption{{{escaped(said)} ...}}\\label{{tab:{label}}}",
        f"% \\end{{{float_}}}",
    ]
    if size.skip * sum(map(_height, parts)) > _HIGHEST:
        lines.append("% Too high for one float: choose --columns, leave out the intervals, or split it by hand.")
    return lines


def _height(sheet: Sheet) -> float:
    """Return how many lines high a tabular is."""
    names = max((len(head.name) for head in sheet.heads), default=1)
    rows = sum(max(len(line.name), 1 + _detailed(line)) for line in sheet.lines)
    return 3.0 + names + rows + 1.5 * len(sheet.sections)


def _comment(text: str) -> str:
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def _tabular(sheet: Sheet, size: _Size) -> str:
    count = len(sheet.heads)
    lines = [rf"\begin{{tabular}}{{@{{}}l{'r' * count}@{{}}}}", r"\toprule"]
    lines += _spanned([escaped(head.group) for head in sheet.heads])
    lines += _spanned([head.threat.latex for head in sheet.heads])
    depth = max((len(head.name) for head in sheet.heads), default=1)
    for at in range(depth):
        # Names of one line stand at the bottom, next to their numbers.
        names = [_from_below(head.name, depth, at) for head in sheet.heads]
        lines.append(_row([escaped(sheet.corner) if at == depth - 1 else "", *names]))
    for number_, (title, rows) in enumerate(sheet.sections):
        lines.append(r"\midrule" if not number_ else r"\addlinespace")
        if title.latex:
            lines.append(rf"\multicolumn{{{count + 1}}}{{@{{}}l@{{}}}}{{{title.latex}}} \\")
        for at, line in enumerate(rows):
            if at and any(len(other.name) > 1 or _detailed(other) for other in rows):
                lines.append(r"\addlinespace[2pt]")
            details = [rf"{{\{size.intervals} {piece.latex}}}" if piece else "" for _, piece in line.cells]
            stack = [[value.latex for value, _ in line.cells], *([details] if any(details) else [])]
            for depth_ in range(max(len(line.name), len(stack))):
                name = line.name[depth_].latex if depth_ < len(line.name) else ""
                lines.append(_row([name, *(stack[depth_] if depth_ < len(stack) else [""] * count)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _detailed(line: Line) -> bool:
    return any(detail is not None for _, detail in line.cells)


def _from_below(name: Sequence[Piece], depth: int, at: int) -> str:
    index = at - (depth - len(name))
    return name[index].latex if index >= 0 else ""


def _spanned(titles: Sequence[str]) -> list[str]:
    """Return a row of titles over the columns they belong to, with a rule beneath each that has several."""
    if not any(titles):
        return []
    cells, rules = [""], []
    for start, stop in spans(titles):
        title = titles[start]
        cells.append(rf"\multicolumn{{{stop - start}}}{{c}}{{{title}}}" if title else " & ".join([""] * (stop - start)))
        if title and stop - start > 1:
            rules.append(rf"\cmidrule(lr){{{start + 2}-{stop + 1}}}")
    return [_row(cells), *(["".join(rules)] if rules else [])]


def _row(cells: Sequence[str]) -> str:
    return (" & ".join(cells)).rstrip() + r" \\"


def _notes(table: Table, body: str, *, rotate: bool) -> list[str]:
    """Return the notes that a reader of the paper needs, generic and short."""
    detailed = any(cell.detail.startswith("[") for row in table.rows for cell in row[1:])
    accuracies = bool(table.groups)
    notes = []
    if accuracies:
        sizes = sorted({row[at].text for row in table.rows for at in table.about}, key=len)
        notes.append(
            f"Accuracies in \\%, $n={', '.join(sizes)}$" + (", Wilson 95\\,\\% intervals beneath." if detailed else ".")
        )
        judged = " ".join(row[0].detail for row in table.rows)
        if "mean-of-" in judged:
            notes.append("Mean-of-$N$: share of correct draws; worst-of-$N$: all $N$ draws correct.")
        if "worst case" in table.groups:
            kept = "the chosen" if table.left_out else "all"
            notes.append(f"Worst case: per image, over {kept} attacks of the kind that were run.")
        if "archives" in table.groups:
            notes.append(_ARCHIVES)
    else:
        # Those of other tables are short, as a rule; what is not stands in the comments.
        brief = [note for note in table.notes if len(note) <= _BRIEF and max(map(len, note.split())) <= _BRIEF // 4]
        notes += [f"{_broken(table.title)}.", *(f"{escaped(note).rstrip('.')}." for note in brief)]
    told = [f"{mark}~{meaning}" for mark, meaning in _MARKS.items() if _marked(mark, body)]
    notes += [f"{'; '.join(told)}."] if told else []
    if r"\textbf{" in body:
        line = "row" if rotate else "column"
        notes.append(f"Bold: best of its {line} and all not separated from it (exact paired tests, Holm, .05).")
    if not notes:
        return []
    return ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\scriptsize\raggedright {' '.join(notes)}}}"]


def _broken(text: str) -> str:
    """Return text as LaTeX without a word that is longer than a line."""
    return " ".join(escaped(line) for line in wrapped(text, _NARROWEST))


def _marked(mark: str, body: str) -> bool:
    cells = [cell.strip() for line in body.split("\n") if line.endswith(r"\\") for cell in line[:-2].split(" & ")[1:]]
    return any(mark == cell if mark in ("--", r"\ldots", "FAIL", "BLOCK") else mark in cell for cell in cells)


def _comments(table: Table) -> list[str]:
    """Return every note of the table, as comments: the whole story for whoever edits the paper."""
    reasons = [f"% {_comment(note)}" for note in table.notes]
    return ["%", *reasons] if reasons else []
