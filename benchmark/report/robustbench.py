"""Entries of RobustBench's leaderboard: the JSON of `model_info/<dataset>/<threat>/<Name>.json` (arXiv:2010.09670).

What the verdicts say is measured here: `clean_acc`, `autoattack_acc`, `external`, `eps`, `dataset`, `unreliable`. All
else is what the card of the defense says; what it does not say is empty or left out, and named. Accuracies are text in
percent with two decimals, as RobustBench writes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.machine.system import write_whole
from bench.report.plain import flat
from bench.results import known
from bench.results.accuracy import Column, DefenseRow
from bench.results.judging import Judge
from bench.results.outcome import Done
from bench.threats import ThreatModel
from bench.types import Card

# The leaderboards of RobustBench; that of corruptions has other fields.
FAMILIES = ("Linf", "L2")
# Only a complete AutoAttack stands in `autoattack_acc`.
_AUTOATTACK = ("autoattack", "autoattack-ref")
# The fields that a card may fill, by its fact, and their type; text that is missing is empty, as there.
_OF_CARD: Mapping[str, tuple[str, type]] = {
    "link": ("link", str),
    "name": ("title", str),
    "authors": ("authors", str),
    "additional_data": ("additional_data", bool),
    "number_forward_passes": ("number_forward_passes", int),
    "venue": ("venue", str),
    "architecture": ("architecture", str),
    "reported": ("reported", str),
}
# In the order of the published files.
_ORDER = (
    *("link", "name", "authors", "additional_data", "number_forward_passes", "dataset", "venue", "architecture"),
    *("eps", "clean_acc", "reported", "autoattack_acc", "external", "footnote", "unreliable"),
)
# The whole test sets that RobustBench evaluates on.
_WHOLE = {"cifar10": 10_000, "cifar100": 10_000, "imagenet": 5_000}


@dataclass(frozen=True)
class Exported:
    """Entries for RobustBench, and what a reader should know about them.

    Attributes:
        entries: by place, `cifar10/Linf/NAME.json`.
        notes: a line for each field that a card lacks, and for each defense that has no entry.
    """

    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> list[Path]:
        """Write a file per entry below a folder, as RobustBench's `model_info` has them; return their paths."""
        paths = []
        for place, entry in self.entries.items():
            write_whole(folder / place, (json.dumps(entry, indent=2, ensure_ascii=False) + "\n").encode())
            paths.append(folder / place)
        return paths


def export(rows: Sequence[DefenseRow], cards: Mapping[str, Card | None]) -> Exported:
    """Return an entry for each defense and threat model with a finished AutoAttack.

    Args:
        rows: the defenses.
        cards: by the label of a defense; `None` if it is not known.

    Raises:
        BenchError: no defense has one; the message says why.
    """
    entries: dict[str, dict[str, Any]] = {}
    notes: dict[str, None] = {}
    for row in rows:
        threats = list(dict.fromkeys(column.threat for column in (*row.attacked, *row.imported)))
        for threat in threats:
            where = f"{flat(row.defense.label)} ({threat}, n={row.slice.n}, seed {row.seed})"
            column = _autoattack(row, threat)
            reason = _refused(row, threat, column)
            if reason or column is None:
                notes[f"{where}: no entry: {reason}"] = None
                continue
            card = cards.get(row.defense.label)
            entry, lacking = _entry(row, column, card)
            place = _place(row, threat, entries)
            entries[place] = entry
            if lacking:
                whose = "its card does not say" if card is not None else "its card was not found, so nothing says"
                notes[f"{where}: {place}: {whose} {', '.join(lacking)}"] = None
    if not entries:
        raise BenchError(f"nothing to export to RobustBench: {next(iter(notes), 'there are no results')}")
    return Exported(entries, tuple(notes))


def _autoattack(row: DefenseRow, threat: ThreatModel) -> Column | None:
    judge = row.judges[0]
    there = {column.attack: column for column in row.attacked if column.threat == threat}
    # Where parts of it found no gradient, the entry says so.
    done = [there[name] for name in _AUTOATTACK if name in there and row.score(there[name], judge).accuracy is not None]
    return done[0] if done else None


def _refused(row: DefenseRow, threat: ThreatModel, column: Column | None) -> str:
    """Return why a defense has no entry under a threat model; empty where it has one."""
    if row.blocks:
        return f"a check forbids a number: {flat('; '.join(row.blocks))}"
    if threat.family not in FAMILIES:
        return f"RobustBench has leaderboards for {' and '.join(FAMILIES)}"
    return "" if column is not None else "autoattack is not finished: run --attacks autoattack"


def _entry(row: DefenseRow, column: Column, card: Card | None) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of one entry, and the names of those that the card lacks."""
    judge, threat = row.judges[0], column.threat
    found, lacking = _of_card(card)
    footnotes = [_text(card.facts.get("footnote"))] if card is not None else []
    if row.slice.n < _WHOLE.get(row.slice.dataset, row.slice.n + 1):
        footnotes.append(f"Measured on {row.slice.n} images of the {row.slice.split} set.")
    if row.defense.stochastic:
        footnotes.append(f"Randomized defense: {judge.name} over evaluation draws that no attack saw.")
    found |= {
        "dataset": row.slice.dataset,
        "eps": str(threat).partition(":")[2],
        "clean_acc": _percent(row.standard(judge).accuracy),
        "autoattack_acc": _percent(row.score(column, judge).accuracy),
    }
    lowest = row.lowest(judge, threat).accuracy
    robust = row.score(column, judge).accuracy
    if lowest is not None and robust is not None and lowest.value < robust.value:
        found["external"] = _percent(lowest)
        footnotes.append(f"{_percent(lowest)}% robust accuracy is due to {_lower(row, column, judge)}.")
    outcome = row.results[column].outcome
    lost = outcome.evidence.unable if isinstance(outcome, Done) else ()
    if lost:
        footnotes.append(f"There is no gradient for {flat(', '.join(lost))}: the other parts of AutoAttack alone.")
    unreliable = True if lost else _unreliable(row, threat)
    if unreliable is not None:
        found["unreliable"] = unreliable
    found["footnote"] = " ".join(filter(None, footnotes))
    return {name: found[name] for name in _ORDER if name in found}, lacking


def _of_card(card: Card | None) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    lacking = []
    for name, (fact, kind) in _OF_CARD.items():
        told: Any = None if card is None else card.facts.get(fact)
        value = _text(told) if kind is str else told if type(told) is kind else None
        if value or (value is not None and kind is not str):
            found[name] = value
            continue
        lacking.append(name)
        # A flag or a number that nobody knows cannot be empty.
        found |= {name: ""} if kind is str else {}
    return found, lacking


def _text(told: Any) -> str:  # noqa: ANN401  (a card is anybody's JSON)
    """Return a fact as one line of text; empty where it is none."""
    return flat(str(told)) if isinstance(told, str | int | float) and not isinstance(told, bool) else ""


def _percent(accuracy: Any) -> str:  # noqa: ANN401  (an accuracy, which a finished cell has)
    return f"{100 * accuracy.value:.2f}"


def _lower(row: DefenseRow, autoattack: Column, judge: Judge) -> str:
    """Return the attacks and archives under the threat model of AutoAttack that lower its number."""
    columns = (*row.attacked, *row.imported)
    beside = [each for each in columns if each.threat == autoattack.threat and each != autoattack]
    scores = {each: row.score(each, judge).accuracy for each in beside}
    names = [known.source(row, each) if each.imported else each.attack for each in beside if scores[each] is not None]
    return flat(f"the worst case over {', '.join([autoattack.attack, *dict.fromkeys(names)])}")


def _unreliable(row: DefenseRow, threat: ThreatModel) -> bool | None:
    """Return whether AutoAttack may overestimate this defense; `None` where nothing was checked.

    RobustBench marks so what AutoAttack itself flags, randomized defenses among it; here also what a check flags.
    """
    if row.defense.stochastic:
        return True
    findings = [each for column, result in row.results.items() if column.threat == threat for each in result.findings]
    return any(finding.alarming for finding in findings) if findings else None


def _place(row: DefenseRow, threat: ThreatModel, taken: Mapping[str, object]) -> str:
    """Return where an entry goes: `cifar10/Linf/NAME.json`; with eps, n and seed if the name is taken."""
    folder, name = f"{_safe(row.slice.dataset)}/{threat.family}", _safe(row.defense.label)
    longer = f"{name}_{_safe(str(threat).partition(':')[2])}_n{row.slice.n}_seed{row.seed}_{row.draws}"
    first = f"{folder}/{name}.json"
    return first if first not in taken else f"{folder}/{longer}.json"


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-.") or "unnamed"
