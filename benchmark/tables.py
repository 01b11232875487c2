"""Tables of standard and robust accuracy: one neutral table, four renderings.

`make_table` decides what stands where, `render` only how it looks. Neither knows the time or the machine,
so the same results give the same bytes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.accuracy import WORST_CASES, Column, DefenseRow, Entry, Judge, by_slice, defense_rows
from bench.catalogue import ATTACKS
from bench.cell import Result
from bench.checks.advice import attacks_for
from bench.errors import BenchError, unknown
from bench.formats import searched_in
from bench.outcome import Done
from bench.types import CORRUPTION

STYLES = ("screen", "plain", "grid", "markdown", "latex")

# What leaderboards of the field ask for at least; below it a table only shows that things work.
ENOUGH = 500

_SEEN = "*"
_BOUND = "<="
_ALARM = "!"
_POWERLESS = "~"

_ABOUT_INTERVALS = (
    "Accuracies in %, with Wilson 95 % intervals over the n examples: sampling error only. "
    "Robust accuracy is an upper bound: a stronger attack can lower it."
)
_ABOUT_WORST = (
    "worst seen, unseen, all: per example the worst over the attacks of that kind, never an average of columns. "
    "Skipped attacks are left out."
)
_ABOUT_DRAWS = (
    "mean-of-N: the share of correct draws out of N evaluation draws. worst-of-N: an example counts only if all N "
    "draws are right; its standard accuracy too."
)
_ABOUT_SEEN = f"{_SEEN} seen: the defense was trained on this threat at this eps or a larger one."
_ABOUT_SHIFTS = "corruption: mean accuracy over the severities of a shift without an adversary; in no worst case."
_ABOUT_BOUND = f"{_BOUND} an upper bound: cells of this worst case failed or are missing."
_ABOUT_FAILED = "FAIL: the cell broke and counts as nothing; the next run tries it again."
_ABOUT_BLOCKED = "BLOCK: a check forbids a number here; see the lines that begin with a !."
_ABOUT_MISSING = "...: not computed yet, or never asked of this defense."


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
    """

    text: str
    detail: str = ""
    seen: bool = False
    bound: bool = False
    note: int = 0
    alarmed: bool = False


@dataclass(frozen=True)
class Table:
    """A table before it has a look; the first column names the row.

    Attributes:
        title: which examples.
        header: per column one or two lines: an attack and its threat.
        rows: as many cells as the header has columns.
        notes: what a reader must know, footnotes included.
    """

    title: str
    header: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[TableCell, ...], ...]
    notes: tuple[str, ...]


def make_table(results: Sequence[Result]) -> Table:
    """The table of one slice: rows are defenses, columns attacks, both in the given order.

    A stochastic defense takes two rows: mean-of-N, and worst-of-N beneath it.

    Raises:
        BenchError: no results, or results of several slices.
    """
    slices = [group[0].cell.slice for group in by_slice(results)]
    if len(slices) != 1:
        held = ", ".join(f"{item.dataset} {item.split} n={item.n}" for item in slices) or "none"
        raise BenchError(f"a table shows one slice of one dataset, these results hold {held}: select one")
    rows = defense_rows(results)
    columns = rows[0].attacked
    footnotes: dict[str, int] = {}
    label_seeds = len({row.seed for row in rows}) > 1
    lines = [
        (
            TableCell(_flat(row.defense.label), f"({judge.name}{f', seed {row.seed}' if label_seeds else ''})"),
            TableCell(str(row.slice.n)),
            *(_cell(entry, seen, footnotes) for entry, seen in _entries(row, judge)),
        )
        for row in rows
        for judge in row.judges
        if judge.rule in ("mean", "worst")
    ]
    idle = _powerless(columns, slices[0].dataset)
    header = (
        ("defense",),
        ("n",),
        ("standard",),
        *((_flat(column.attack) + _POWERLESS * (column in idle), str(column.threat)) for column in columns),
        *(("worst", which) for which in WORST_CASES if columns),
        *((_flat(name), CORRUPTION) for name in _shifts(rows[0])),
    )
    title = f"{_flat(slices[0].dataset)} {_flat(slices[0].split)}"
    notes = _notes(lines, slices[0].n, rows, footnotes)
    idle_notes = [f"{_POWERLESS} {column.attack} has no power here: {why}" for column, why in idle.items()]
    return Table(
        title,
        header,
        tuple(lines),
        (*notes, *idle_notes, *_unable(results), *_escalations(results), *_formats(results), *_makers(results)),
    )


def _formats(results: Sequence[Result]) -> list[str]:
    """One line for each defense that was searched in one format here and in another one there."""
    formats: dict[str, dict[str, int]] = {}
    for result in results:
        if isinstance(result.outcome, Done) and not result.cell.threat.is_shift:
            states = formats.setdefault(result.cell.defense.label, {})
            name = searched_in(result.cell.precision)
            states[name] = states.get(name, 0) + 1
    return [
        f"searched in different formats: {_flat(label)} {_counted(states)}"
        for label, states in formats.items()
        if len(states) > 1
    ]


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{state} ({count} cell{'s' * (count > 1)})" for state, count in states.items())


def _makers(results: Sequence[Result]) -> list[str]:
    """One line for each part of our code that numbers of one table were made by different states of."""
    made: dict[tuple[str, str, str], dict[str, int]] = {}
    for result in results:
        if isinstance(result.outcome, Done):
            attack = result.cell.attack
            # An attack of several parts has others on another kind of defense, and so other code.
            places = (("harness", "", ""), ("attack", attack.label, attack.source))
            for place in (*places, ("defense", result.cell.defense.label, "")):
                part, states = place[0], made.setdefault(place, {})
                code = result.code.get(part, "unknown")
                states[code] = states.get(code, 0) + 1
    return [
        f"made by different code: {f'{part} {_flat(name)}'.strip()} {_counted(states)}"
        for (part, name, _), states in made.items()
        if len(states) > 1
    ]


def _unable(results: Sequence[Result]) -> list[str]:
    """One line per attack of several parts that lacks those which need a gradient."""
    return [
        f"{_ALARM} {_flat(result.cell.title)}: there is no gradient for {', '.join(result.outcome.evidence.unable)}, "
        "the number is that of its other parts alone"
        for result in results
        if isinstance(result.outcome, Done) and result.outcome.evidence.unable
    ]


def _escalations(results: Sequence[Result]) -> list[str]:
    """One line per cascade that called for what it holds back."""
    called = [
        (result.cell, result.outcome.evidence.escalated)
        for result in results
        if isinstance(result.outcome, Done) and result.outcome.evidence.escalated
    ]
    return [
        f"{_ALARM} {_flat(cell.title)}: gradients are masked, or an audited example broke: "
        f"{', '.join(member.label for member in cell.attack.reserve)} attacked {count} more survivors"
        for cell, count in called
    ]


def _shifts(row: DefenseRow) -> dict[str, list[Column]]:
    """The corruption columns of a table: one per corruption over its severities, then the mean of them all."""
    found = row.corruptions
    return {**found, "mean": [column for columns in found.values() for column in columns]} if found else {}


def _powerless(columns: Sequence[Column], dataset: str) -> dict[Column, str]:
    """The columns whose attack the undefended model survives on this dataset, and how often."""
    known = {entry.name: entry.powerless for entry in ATTACKS}
    told = {column: known.get(column.attack.partition("[")[0], {}).get(dataset) for column in columns}
    return {column: why for column, why in told.items() if why is not None}


def _entries(row: DefenseRow, judge: Judge) -> list[tuple[Entry, bool]]:
    return [
        (row.standard(judge), False),
        *((row.entry(column, judge), row.seen(column)) for column in row.attacked),
        *((row.worst(which, judge), False) for which in WORST_CASES if row.attacked),
        *((row.corrupted(columns, judge), False) for columns in _shifts(row).values()),
    ]


def _cell(entry: Entry, seen: bool, footnotes: dict[str, int]) -> TableCell:
    if entry.accuracy is not None:
        low, high = entry.accuracy.interval
        detail = f"[{100 * low:.1f}, {100 * high:.1f}]"
        value = f"{100 * entry.accuracy.value:.1f}"
        return TableCell(value, detail, seen, not entry.accuracy.complete, alarmed=entry.alarmed)
    if entry.state == "skipped":
        return TableCell("-", note=footnotes.setdefault(_flat(entry.reason), len(footnotes) + 1))
    return TableCell({"failed": "FAIL", "blocked": "BLOCK"}.get(entry.state, "..."))


def _notes(
    lines: Sequence[Sequence[TableCell]], n: int, rows: Sequence[DefenseRow], footnotes: dict[str, int]
) -> tuple[str, ...]:
    cells = [cell for line in lines for cell in line[1:]]
    texts = {cell.text for cell in cells}
    notes = [_ABOUT_INTERVALS, _ABOUT_WORST]
    notes += [_ABOUT_SHIFTS] if any(row.corruptions for row in rows) else []
    notes += [_ABOUT_DRAWS] if any(row.draws > 1 for row in rows) else []
    notes += [_ABOUT_SEEN] if any(cell.seen for cell in cells) else []
    notes += [_ABOUT_BOUND] if any(cell.bound for cell in cells) else []
    notes += [_ABOUT_FAILED] if "FAIL" in texts else []
    notes += [_ABOUT_MISSING] if "..." in texts else []
    notes += [_ABOUT_BLOCKED] if "BLOCK" in texts else []
    notes += _alarms(rows)
    notes += [f"[{number}] {reason}" for reason, number in footnotes.items()]
    notes += [f"n={n} < {ENOUGH}: smoke numbers, not comparable with a leaderboard"] if n < ENOUGH else []
    return tuple(notes)


def _alarms(rows: Sequence[DefenseRow]) -> list[str]:
    """One line per finding that flags or blocks numbers, with whom and under what."""
    lines = []
    for row in rows:
        for finding, threats in row.alarms.items():
            # What is found before any attack holds whatever the threat.
            where = "" if finding.id.startswith("S") else f" ({', '.join(map(str, threats))})"
            what = "no leaderboard number: " if finding.verdict == "block" else ""
            lines.append(f"{_ALARM} {_flat(row.defense.label)}{where}: {what}{_flat(finding.message)}")
        lines += _next(row)
    return lines


def _next(row: DefenseRow) -> list[str]:
    """What a doubter of a row runs next, where its columns do not hold that yet."""
    there = {column.attack.partition("[")[0] for column in row.attacked}
    attacks = [
        name
        for name in attacks_for(row.alarms, stochastic=row.defense.stochastic).split(",")
        if name and name.partition("[")[0] not in there
    ]
    return [f"{_ALARM} {_flat(row.defense.label)}: run next: --attacks {','.join(attacks)}"] if attacks else []


def _flat(text: str) -> str:
    """One line without control characters: labels and errors come from other people's code."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def render(table: Table, style: str = "screen", width: int | None = None) -> str:
    """The table as text, without a newline at its end.

    Args:
        table: what to show.
        style: `screen` (also called `plain`), `grid`, `markdown`, or `latex` (needs the booktabs package).
        width: the terminal's, for `screen` and `grid`: the columns are folded into blocks that fit it.
    """
    if style == "markdown":
        return _markdown(table)
    if style == "latex":
        return _latex(table)
    if style in ("screen", "plain", "grid"):
        return _screen(table, "grid" if style == "grid" else "simple", width)
    raise unknown("table style", style, STYLES)


def _screen(table: Table, look: str, width: int | None) -> str:
    from tabulate import tabulate

    def draw(columns: Sequence[int]) -> str:
        header = ["\n".join(table.header[i]) for i in columns]
        body = [[_stacked(row[i]) for i in columns] for row in table.rows]
        align = ["left" if i == 0 else "right" for i in columns]
        text = tabulate(body, header, tablefmt=look, disable_numparse=True, colalign=align)
        return "\n".join(line.rstrip() for line in text.split("\n"))

    def fits(columns: Sequence[int]) -> bool:
        return width is None or max(map(len, draw(columns).split("\n"))) <= width

    blocks: list[list[int]] = []
    for index in range(1, len(table.header)):
        if blocks and fits([*blocks[-1], index]):
            blocks[-1].append(index)
        else:
            blocks.append([0, index])
    notes = [_wrapped(note, width) for note in table.notes]
    return "\n\n".join([table.title, *(draw(block) for block in blocks), "\n".join(notes)])


def _wrapped(note: str, width: int | None) -> str:
    return note if width is None else textwrap.fill(note, max(width, 20), subsequent_indent="  ")


def _stacked(cell: TableCell) -> str:
    first = _marked(cell, f"{_BOUND} ", _SEEN, "[{}]")
    return f"{first}\n{cell.detail}" if cell.detail else first


def _marked(cell: TableCell, bound: str, seen: str, note: str, escape: Callable[[str], str] = lambda text: text) -> str:
    before = bound if cell.bound else ""
    marks = (seen if cell.seen else "") + (_ALARM if cell.alarmed else "")
    after = marks + (f" {note.format(cell.note)}" if cell.note else "")
    return f"{before}{escape(cell.text)}{after}"


def _inline(values: Sequence[str], details: Sequence[str]) -> list[str]:
    return [f"{value} {detail}".rstrip() for value, detail in zip(values, details, strict=True)]


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
            (_marked(cell, "&lt;= ", r"\*", "[{}]", _markdown_text), _markdown_text(cell.detail)) for cell in cells
        ]
        lines.append(row([" ".join(filter(None, parts)) for parts in shown]))
    lines += ["", *(f"- {_markdown_text(note)}" for note in table.notes)]
    return "\n".join(lines)


def _markdown_text(text: str) -> str:
    for char in "\\|*_`~":
        text = text.replace(char, f"\\{char}")
    # No label may become a tag or a link.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("](", r"]\(")


def _latex(table: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        return rf"{' & '.join(cells)} \\"

    depth = max(map(len, table.header))
    lines = [
        f"% {table.title}; needs \\usepackage{{booktabs}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        *(row([_latex_text(names[i]) if i < len(names) else "" for names in table.header]) for i in range(depth)),
        r"\midrule",
    ]
    for cells in table.rows:
        values = [_marked(cell, f"{_LEQ} ", "$^{*}$", "[{}]", _latex_text) for cell in cells]
        lines.append(row(_inline(values, [_latex_detail(cell) for cell in cells])))
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\smallskip", "{\\footnotesize"]
    lines += [f"{_latex_text(note).replace(_LATEX['<'] + '=', _LEQ)}\\par" for note in table.notes]
    return "\n".join([*lines, "}"])


_LEQ = r"$\leq$"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    # At the start of a row a bracket would be read as the option of the line break before it.
    "[": "{[}",
    "]": "{]}",
    **{char: f"\\{char}" for char in "%_#&${}"},
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def _latex_detail(cell: TableCell) -> str:
    # It follows a value in its row, so its brackets need no guard.
    return cell.detail if cell.detail.startswith("[") else _latex_text(cell.detail)
