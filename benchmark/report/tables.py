"""Tables of standard and robust accuracy; `bench.report.render` decides how they look.

Neither module reads the time or the machine, so the same results give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.catalogue import ATTACKS, DEFENSES
from bench.errors import BenchError
from bench.report.choice import Place, archives, chosen, places
from bench.report.comparison import resolution
from bench.report.plain import flat
from bench.report.render import ALARM, BOUND, SEEN, Table, TableCell
from bench.results import known
from bench.results.accuracy import Column, DefenseRow, Score, by_slice, defense_rows
from bench.results.advice import attacks_for
from bench.results.cell import Result
from bench.results.judging import Judge
from bench.results.outcome import Done
from bench.results.provenance import UNKNOWN, states
from bench.results.ranking import not_outdone

# The least that leaderboards of the field accept; with fewer images a table only shows that things work.
ENOUGH = 500

_POWERLESS = "~"

_ABOUT_INTERVALS = "Accuracies in %, with Wilson 95 % intervals over the n examples: sampling error only. "
_ABOUT_VALUES = "Accuracies in %, without their intervals. "
_ABOUT_ATTACKS = "Robust accuracy is an upper bound: a stronger attack can lower it."
_ABOUT_WORST = (
    "worst seen, unseen, all: per example the worst over the attacks of that kind, never an average of columns. "
    "Skipped attacks are left out."
)
_ABOUT_HIDDEN = "The worst cases are over attacks without a column here, too."
_ABOUT_BEST = (
    "bold: the best of its column and what is not separated from it by exact paired tests (Holm over the column, alpha "
    ".05). Only the first row of a defense enters, and no upper bound or flagged number."
)
_ABOUT_DRAWS = (
    "mean-of-N: the share of correct draws out of N evaluation draws. worst-of-N: an example counts only if all N "
    "draws are right; its standard accuracy too."
)
_ABOUT_SEEN = f"{SEEN} seen: the defense was trained on this threat at this eps or a larger one."
_ABOUT_SHIFTS = "corruption: mean accuracy over the severities of a shift without an adversary; in no worst case."
_ABOUT_BOUND = (
    f"{BOUND} an upper bound: cells of this worst case failed or are missing, or parts of an attack found no gradient."
)
_ABOUT_KNOWN = (
    "best known: per example the worst over the attacks here and the archives of others (import:NAME) under that "
    "threat. Archives are made against one defense, so they are in no other worst case and in no rank."
)
_ABOUT_KNOWN_DRAWS = (
    "draws known: each evaluation draw is attacked on its own by somebody who knows its random numbers (DW-box, "
    "arXiv:2404.14309), which no real attacker does. It is what a defense owes to anything but randomness: not "
    "comparable with the other columns, in no worst case, rank, claim or gate."
)
_ABOUT_FAILED = "FAIL: the cell broke and counts as nothing; the next run tries it again."
_ABOUT_BLOCKED = "BLOCK: a check forbids a number here; see the lines that begin with a !."
_ABOUT_MISSING = "...: not computed yet, or never asked of this defense."

# What explains the table as such, and nothing of what it holds.
GENERAL = (
    _ABOUT_INTERVALS + _ABOUT_ATTACKS,
    _ABOUT_WORST,
    _ABOUT_DRAWS,
    _ABOUT_SEEN,
    _ABOUT_SHIFTS,
    _ABOUT_BOUND,
    _ABOUT_FAILED,
    _ABOUT_BLOCKED,
    _ABOUT_MISSING,
)


def make_table(
    results: Sequence[Result],
    columns: str = "",
    *,
    intervals: bool = True,
    best: bool = False,
    strict: bool = False,
    left_out: int = 0,
) -> Table:
    """Return the table of one slice: rows are defenses, columns attacks, both in the given order.

    A stochastic defense takes two rows: mean-of-N, and worst-of-N beneath it.

    Args:
        results: of one slice.
        columns: which columns, such as `standard,autoattack@Linf,worst-all`; all of them if empty.
        intervals: whether each accuracy has its interval.
        best: mark the best of each column, and what the exact paired test does not separate from it.
        strict: show no number of a defense that a check blocks, not even where one was computed in spite of it.
        left_out: how many columns of attacks are stored for these rows, and not among the results.

    Raises:
        BenchError: no results, results of several slices, or a column that there is not.
    """
    slices = [group[0].cell.slice for group in by_slice(results)]
    if len(slices) != 1:
        held = ", ".join(f"{item.dataset} {item.split} n={item.n}" for item in slices) or "none"
        raise BenchError(f"a table shows one slice of one dataset, these results hold {held}: select one")
    rows = defense_rows(results)
    every = places(rows[0], archives(rows))
    shown = chosen(every, columns)
    footnotes: dict[str, int] = {}
    label_seeds = len({row.seed for row in rows}) > 1

    def score(place: Place, row: DefenseRow, judge: Judge) -> Score:
        return Score("blocked") if strict and row.blocks else place.score(row, judge)

    leading = [_leaders(place, rows) if best else frozenset() for place in shown]
    lines = [
        (
            TableCell(flat(row.defense.label), f"({judge.name}{f', seed {row.seed}' if label_seeds else ''})"),
            TableCell(str(row.slice.n)),
            *(
                _cell(score(place, row, judge), place.seen(row), footnotes, intervals, at in leaders and not later)
                for place, leaders in zip(shown, leading, strict=True)
            ),
        )
        for at, row in enumerate(rows)
        # The other judges stand in the CSV file: a screen has room for the headline and the strictest.
        for later, judge in enumerate(judge for judge in row.judges if judge.rule in ("mean", "worst"))
    ]
    idle = _powerless(shown, slices[0].dataset)
    header = (("defense",), ("n",), *(_header(place, powerless=place in idle) for place in shown))
    notes = [_ABOUT_INTERVALS + _ABOUT_ATTACKS if intervals else _ABOUT_VALUES + _ABOUT_ATTACKS]
    if any(place.which for place in shown) or not columns:
        notes += [_ABOUT_WORST, *([_ABOUT_HIDDEN] if len(shown) < len(every) else [])]
    notes += [part_of(left_out)] if left_out else []
    notes += [_ABOUT_BEST] if best else []
    notes += _notes(lines, slices[0].n, rows, footnotes)
    notes += [f"{_POWERLESS} {flat(place.name)} has no power here: {why}" for place, why in idle.items()]
    return Table(
        f"{flat(slices[0].dataset)} {flat(slices[0].split)}",
        header,
        tuple(lines),
        (*notes, *_unable(results), *_escalations(results), *_formats(results), *_makers(results), *_left_out()),
        about=(1,),
        groups=("", "", *(_group(place, rows) for place in shown)),
        left_out=left_out,
    )


def _left_out() -> list[str]:
    """Return a note for each plug-in that does not load: nothing of it can be known, such as its place in the order."""
    return [flat(line) for line in (*DEFENSES.broken, *ATTACKS.broken)]


def part_of(left_out: int) -> str:
    """Return the note on worst cases over a part of the attacks that are stored."""
    columns = "1 column" if left_out == 1 else f"{left_out} columns"
    return f"worst cases and ranks are over the chosen attacks alone: {columns} of stored attacks were left out"


def _header(place: Place, *, powerless: bool) -> tuple[str, ...]:
    first, *rest = (flat(line) for line in place.header)
    return (first + _POWERLESS * powerless, *rest)


def _group(place: Place, rows: Sequence[DefenseRow]) -> str:
    """Return the kind of a column: an attack is seen if any of the defenses has seen its threat model."""
    if place.which is not None:
        return "worst case"
    if place.known is not None or place.imported:
        return "archives"
    if place.known_draws:
        return "draws known"
    if place.attacked is None:
        return "corruptions" if place.shifted else ""
    return "seen" if any(place.seen(row) for row in rows) else "unseen"


def _leaders(place: Place, rows: Sequence[DefenseRow]) -> frozenset[int]:
    """Return the rows whose headline accuracy is the best of a column, or not separated from the best."""
    scores = [place.score(row, row.judges[0]) for row in rows]
    able = [
        at
        for at, (row, score) in enumerate(zip(rows, scores, strict=True))
        # An upper bound could be best only on paper, and a flagged number may be no number at all.
        if score.state == "done" and not score.alarmed and not row.blocks
    ]
    counted = [(at, place.counts(rows[at])) for at in able]
    entrants = [(at, counts) for at, counts in counted if counts is not None]
    if len(entrants) < 2:
        return frozenset()  # the best of one is no news
    leading = not_outdone([counts for _, counts in entrants], [rows[at].draws for at, _ in entrants])
    return frozenset(at for (at, _), leads in zip(entrants, leading, strict=True) if leads)


def _formats(results: Sequence[Result]) -> list[str]:
    """Return a line for each defense whose cells were searched in different formats."""
    formats: dict[str, dict[str, int]] = {}
    for result in results:
        if isinstance(result.outcome, Done) and not result.cell.threat.is_shift:
            states = formats.setdefault(result.cell.defense.label, {})
            name = result.cell.searched_in
            states[name] = states.get(name, 0) + 1
    return [
        f"searched in different formats: {flat(label)} {_counted(states)}"
        for label, states in formats.items()
        if len(states) > 1
    ]


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{state} ({count} cell{'s' * (count > 1)})" for state, count in states.items())


def _makers(results: Sequence[Result]) -> list[str]:
    """Return a line for each part of our code, or torch, whose state differs between numbers of one table or in one."""
    made: dict[tuple[str, str, str], dict[str, int]] = {}
    for result in results:
        if isinstance(result.outcome, Done):
            attack = result.cell.attack
            # A composite attack has other parts, and so other code, on another kind of defense.
            places = (("harness", "", ""), ("attack", attack.label, attack.source))
            for place in (*places, ("defense", result.cell.defense.label, ""), ("torch", "", "")):
                part, found = place[0], made.setdefault(place, {})
                code = flat(result.code.get(part, UNKNOWN))
                found[code] = found.get(code, 0) + 1
    return [
        f"made by different code: {f'{part} {flat(name)}'.strip()} {_counted(codes)}"
        for (part, name, _), codes in made.items()
        # Several states between the cells, or between the shards of a cell.
        if len(codes) > 1 or any(len(states(code)) > 1 for code in codes)
    ]


def _unable(results: Sequence[Result]) -> list[str]:
    """Return a line per composite attack whose gradient parts could not be run."""
    return [
        f"{ALARM} {flat(result.cell.title)}: there is no gradient for {', '.join(result.outcome.evidence.unable)}, "
        "the number is that of its other parts alone"
        for result in results
        if isinstance(result.outcome, Done) and result.outcome.evidence.unable
    ]


def _escalations(results: Sequence[Result]) -> list[str]:
    """Return a line per cascade whose reserve ran after an alarm."""
    called = [
        (result.cell, result.outcome.evidence.escalated)
        for result in results
        if isinstance(result.outcome, Done) and result.outcome.evidence.escalated
    ]
    return [
        f"{ALARM} {flat(cell.title)}: gradients are masked, or an audited example broke: "
        f"{', '.join(member.label for member in cell.attack.reserve)} attacked {count} more survivors"
        for cell, count in called
    ]


def _powerless(shown: Sequence[Place], dataset: str) -> dict[Place, str]:
    """Return the columns whose attack the undefended model survives on this dataset, and how often."""
    # A defense that holds under such an attack has shown nothing, so the table says so.
    known = {entry.name: entry.powerless for entry in ATTACKS}
    attacked = [place for place in shown if place.attacked is not None]
    told = {place: known.get(place.name.partition("[")[0], {}).get(dataset) for place in attacked}
    return {place: why for place, why in told.items() if why is not None}


def _cell(score: Score, seen: bool, footnotes: dict[str, int], intervals: bool, leads: bool) -> TableCell:
    if score.accuracy is not None:
        low, high = score.accuracy.interval
        detail = f"[{100 * low:.1f}, {100 * high:.1f}]" if intervals else ""
        value = f"{100 * score.accuracy.value:.1f}"
        return TableCell(value, detail, seen, not score.accuracy.complete, alarmed=score.alarmed, best=leads)
    if score.state == "skipped":
        # One footnote per reason, numbered by first appearance.
        return TableCell("-", note=footnotes.setdefault(flat(score.reason), len(footnotes) + 1))
    return TableCell({"failed": "FAIL", "blocked": "BLOCK"}.get(score.state, "..."))


def _notes(
    lines: Sequence[Sequence[TableCell]], n: int, rows: Sequence[DefenseRow], footnotes: dict[str, int]
) -> tuple[str, ...]:
    cells = [cell for line in lines for cell in line[1:]]
    texts = {cell.text for cell in cells}
    notes = [_ABOUT_KNOWN] if any(row.imported for row in rows) else []
    notes += [_ABOUT_KNOWN_DRAWS] if any(row.known_draws for row in rows) else []
    notes += [_ABOUT_SHIFTS] if any(row.corruptions for row in rows) else []
    notes += [_ABOUT_DRAWS] if any(row.draws > 1 for row in rows) else []
    notes += [_ABOUT_SEEN] if any(cell.seen for cell in cells) else []
    notes += [_ABOUT_BOUND] if any(cell.bound for cell in cells) else []
    notes += [_ABOUT_FAILED] if "FAIL" in texts else []
    notes += [_ABOUT_MISSING] if "..." in texts else []
    notes += [_ABOUT_BLOCKED] if "BLOCK" in texts else []
    # Only what this table shows is explained, so the notes stay short.
    notes += _alarms(rows)
    notes += [line for row in rows for column in row.imported for line in _of_archive(row, column)]
    notes += [f"[{number}] {reason}" for reason, number in footnotes.items()]
    notes += [f"n={n} < {ENOUGH}: smoke numbers, not comparable with a leaderboard"] if n < ENOUGH else []
    notes += [resolution(n)] if len(rows) > 1 else []
    return tuple(notes)


def _alarms(rows: Sequence[DefenseRow]) -> list[str]:
    """Return a line per finding that flags or blocks numbers, with its defense and threats."""
    lines = []
    for row in rows:
        for finding, threats in row.alarms.items():
            # A finding from before any attack holds under every threat.
            where = "" if finding.id.startswith("S") else f" ({', '.join(map(str, threats))})"
            what = "no leaderboard number: " if finding.verdict == "block" else ""
            lines.append(f"{ALARM} {flat(row.defense.label)}{where}: {what}{flat(finding.message)}")
        lines += _next(row)
    return lines


def _of_archive(row: DefenseRow, column: Column) -> list[str]:
    """Return who made an archive and how much it covers, and a line if it broke what no attack here did."""
    config, name = row.results[column].cell.attack.config, f"{flat(column.attack)} ({column.threat})"
    defense, source = flat(row.defense.label), known.source(row, column)
    who = f", by {source}" if source != column.attack else ""
    covers = f"{flat(str(config.get('covers', '?')))} of {row.slice.n} images, the others as they are"
    lines = [f"{name}: made elsewhere against {defense}{who}; {covers}"]
    more = known.beyond(row, column)
    if more:
        lines.append(f"{ALARM} {defense}: {name} broke {more} images that no attack here broke")
    return lines


def _next(row: DefenseRow) -> list[str]:
    """Return which attacks would settle the doubts about a row, without those it has already."""
    there = {column.attack.partition("[")[0] for column in row.attacked}
    attacks = [
        name
        for name in attacks_for(row.alarms, stochastic=row.defense.stochastic).split(",")
        if name and name.partition("[")[0] not in there
    ]
    return [f"{ALARM} {flat(row.defense.label)}: run next: --attacks {','.join(attacks)}"] if attacks else []
