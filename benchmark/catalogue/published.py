"""Published values that a study carries, to be shown beside what is measured:

[[published]]
defense = "atop[rt=2]"      # the label of a row
attack = "autoattack"       # the attack of a column; or column = "standard", "worst-seen", "worst-unseen", "worst-all"
threat = "Linf:8/255"
dataset = "cifar10"         # where it was measured; a value is never compared with other images
value = 72.85               # percent, with the decimals that were printed
n = 512                     # examples behind it, if known
source = "where it was printed"
protocol = "how it was measured there, where that differs from what a run measures"
verified = true             # somebody has read it in its source; false: second-hand, or typed from memory
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from bench.catalogue.percentages import as_printed, shown
from bench.catalogue.request import parse_list
from bench.errors import BenchError, unknown
from bench.threats import ThreatModel

COLUMNS = ("standard", "worst-seen", "worst-unseen", "worst-all")

_MOST_EXAMPLES = 10**7
_REQUIRED = ("defense", "dataset", "value", "source")
_TEXTS = ("defense", "attack", "column", "threat", "dataset", "source", "protocol")
_KEYS = (*_TEXTS, "value", "n", "verified")


@dataclass(frozen=True)
class PublishedValue:
    """A published accuracy of one place of a table.

    Attributes:
        defense: the label of the row.
        dataset: the dataset it was measured on.
        value: in percent, with the decimals that were printed.
        source: where it was printed.
        attack: the label of the attack; empty for a `column`.
        column: one of `COLUMNS`; empty for an attack.
        threat: the threat model, as text; empty if the column has none.
        n: examples behind it; `None` if not known.
        protocol: how it was measured, where that differs from what a run measures; empty if not known.
        verified: whether somebody has read it in its source; if not, it is second-hand.
    """

    defense: str
    dataset: str
    value: Decimal
    source: str
    attack: str = ""
    column: str = ""
    threat: str = ""
    n: int | None = None
    protocol: str = ""
    verified: bool = False

    @property
    def place(self) -> str:
        """Return the name of its column: `autoattack (Linf:8/255)` or `standard`."""
        return f"{self.attack or self.column}{f' ({self.threat})' if self.threat else ''}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "value": str(self.value)}


def published_value(study: str, row: object) -> PublishedValue:
    """Read a `[[published]]` table of a study.

    Args:
        study: its name, for errors.
        row: parsed from TOML with `parse_float=Decimal`.

    Raises:
        BenchError: a key is unknown or missing, or a value makes no sense.
    """
    try:
        return _parsed(row)
    except BenchError as error:
        raise BenchError(f"study {study!r}, [[published]]: {error}") from None


def _parsed(row: object) -> PublishedValue:
    if not isinstance(row, Mapping):
        raise BenchError(f"{shown(row)} is no table: write [[published]] and its keys below")
    for key in row:
        if key not in _KEYS:
            raise unknown("key", key, _KEYS)
    for key in _REQUIRED:
        if key not in row:
            raise BenchError(f"{key} is missing: every published value has {', '.join(_REQUIRED)}")
    texts = {key: _text(key, row[key]) for key in _TEXTS if key in row}
    attack, column = texts.get("attack", ""), texts.get("column", "")
    if bool(attack) == bool(column):
        raise BenchError("give either attack, or column = 'standard', 'worst-seen', 'worst-unseen' or 'worst-all'")
    if column and column not in COLUMNS:
        raise unknown("column", column, COLUMNS)
    if attack and "threat" not in texts:
        raise BenchError(f"attack = {shown(attack)} has no threat: add threat = 'Linf:8/255', say")
    if column and "threat" in texts:
        raise BenchError(f"column = {column!r} is of no single threat: leave threat out")
    n, verified = row.get("n"), row.get("verified", False)
    # In Python a bool is an int, too.
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= _MOST_EXAMPLES):
        raise BenchError(f"n = {shown(n)} is no number of examples: leave it out where it is not known")
    if not isinstance(verified, bool):
        raise BenchError(f"verified = {shown(verified)} is no truth value: write true or false")
    texts |= {key: _label(key, texts[key]) for key in ("defense", "attack") if key in texts}
    if "threat" in texts:
        texts["threat"] = str(ThreatModel.parse(texts["threat"]))
    return PublishedValue(**texts, value=as_printed("value", row["value"]), n=n, verified=verified)


def _label(key: str, text: str) -> str:
    """Return a name in the spelling of labels: its parameters in alphabetical order."""
    # A run with --label calls a defense NAME#LABEL.
    name, mark, label = text.partition("#")
    labels = [request.label for request in parse_list(name, key)]
    if len(labels) != 1:
        raise BenchError(f"{key} = {shown(text)} are {len(labels)} names: write a table for each")
    return f"{labels[0]}{mark}{label}"


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BenchError(f"{key} = {shown(value)} is no text: write it in quotes")
    # On one line, and without control characters, which a terminal would obey.
    text = "".join(sign for sign in " ".join(value.split()) if sign.isprintable())
    if not text:
        raise BenchError(f"{key} is empty: leave it out where it is not known")
    return text
