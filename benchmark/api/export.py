"""Results in the files of other leaderboards, with what the cards of the defenses say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.catalogue import resolve, weights
from bench.catalogue.loading import load_defense
from bench.catalogue.refs import DefenseRef
from bench.catalogue.request import Request, parse_one
from bench.catalogue.selection import defenses
from bench.datasets.load import load
from bench.errors import BenchError
from bench.report.robustbench import Exported, export
from bench.results.accuracy import DefenseRow, defense_rows
from bench.results.cell import Result
from bench.results.ranking import in_order
from bench.types import Card


def robustbench(results: Sequence[Result]) -> Exported:
    """Return results as entries of RobustBench; see `bench.report.robustbench.export`."""
    rows = defense_rows(in_order(results))
    return export(rows, {row.defense.label: _card(row) for row in rows})


def _card(row: DefenseRow) -> Card | None:
    """Return the card of a defense; `None` if it is not here, or not the one whose verdicts these are."""
    if row.defense.in_memory:
        return None
    try:
        request = parse_one(row.defense.label.partition("#")[0], "defense")
        if not request.is_file and not request.is_peer and resolve.held(request) is None:
            return _of_weights(request, row)
        examples = load(row.slice.dataset, row.slice.split, n=1)
        found = [each for each in defenses(request.label, examples) if _same(each, row.defense)]
        return load_defense(found[0], examples.spec).card if found else None
    except BenchError:  # other weights, a file that was moved, images that are not on this machine
        return None


def _same(found: DefenseRef, stored: DefenseRef) -> bool:
    # What a user brings is stored with its answers in the digest; its bytes come first among what that is made of.
    return found.digest in (stored.digest, *stored.brought[:1])


def _of_weights(request: Request, row: DefenseRow) -> Card | None:
    """Return the card of a registered defense, of its last weights; its architecture is that of all of them."""
    found = resolve.defense(request, row.slice.dataset, None)
    cards = [weights.card(Path(path)) for path in found.checkpoints.values()]
    if not cards or not _same(found, row.defense):
        return None
    facts: dict[str, Any] = {**cards[-1], "architecture": " + ".join(_network(each) for each in cards)}
    return Card(str(facts.get("name", "")), str(facts.get("summary", "")), facts)


def _network(card: Mapping[str, Any]) -> str:
    """Return the architecture in a card as text: `small-cnn, width 16`."""
    told = card.get("architecture", "")
    if not isinstance(told, Mapping):
        return str(told)
    return ", ".join([str(told.get("name", "")), *(f"{key} {value}" for key, value in told.items() if key != "name")])
