"""Filters of stored results by defense, attack, threat model and dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.catalogue.request import parse_list
from bench.errors import BenchError, unknown
from bench.results.cell import Result
from bench.results.finding import Finding
from bench.results.outcome import Skipped
from bench.threats import ThreatModel

# A name with empty brackets.
_ALONE = re.compile(r"([^,\[\]]+)\[\]")


@dataclass(frozen=True)
class Filter:
    """The part of a results folder that a command reads; an empty text chooses all.

    Attributes:
        defenses: labels, or names without their parameters: `at,atop` also chooses `atop[rt=2]`, `atop[]` does not.
        attacks: likewise.
        threat: families, or threat models: `Linf` takes every eps.
        dataset: one dataset.
    """

    defenses: str = ""
    attacks: str = ""
    threat: str = ""
    dataset: str = ""

    def of(self, results: Sequence[Result]) -> list[Result]:
        """Return the chosen results, in their order; what blocks a defense stays with it, whatever is left out.

        Raises:
            BenchError: no stored result has a given name, or nothing is left.
        """
        return with_blocks(self.chosen(results), results)

    def chosen(self, results: Sequence[Result]) -> list[Result]:
        """Return the chosen results as they are; errors as for `of`."""
        kept = _kept(list(results), self.defenses, "defense", lambda result: result.cell.defense.label)
        kept = _kept(kept, self.attacks, "attack", lambda result: result.cell.attack.label)
        if self.threat:
            kept = _under(kept, [item.strip() for item in self.threat.split(",")])
        if self.dataset:
            there = dict.fromkeys(result.cell.slice.dataset for result in kept)
            if self.dataset not in there:
                raise unknown("stored dataset", self.dataset, there)
            kept = [result for result in kept if result.cell.slice.dataset == self.dataset]
        return kept


def left_out(kept: Sequence[Result], results: Sequence[Result]) -> int:
    """Return how many columns with an adversary some rows lost when only a part of all results was kept.

    A worst case over fewer attacks is higher: whoever prints one of a part has to say so.
    """
    rows = {_row(result) for result in kept}
    there = {
        result.cell.column
        for result in results
        if _row(result) in rows
        # What enters no worst case is missing in none.
        and not (result.cell.threat.is_shift or result.cell.attack.known_draws or isinstance(result.outcome, Skipped))
    }
    return len(there - {result.cell.column for result in kept})


def with_blocks(kept: Sequence[Result], results: Sequence[Result]) -> list[Result]:
    """Return results with what blocks their defense in any cell of its row, those that were not kept, too.

    A check after the attacks blocks under one threat model, and thereby every number of the row: to leave that threat
    model out must not give the defense a rank.
    """
    blocks: dict[tuple[object, ...], dict[Finding, None]] = {}
    for result in results:
        for finding in result.findings:
            if finding.verdict == "block":
                blocks.setdefault(_row(result), {})[finding] = None
    found = []
    for result in kept:
        more = tuple(each for each in blocks.get(_row(result), ()) if each not in result.findings)
        found.append(replace(result, findings=(*result.findings, *more)) if more else result)
    return found


def _row(result: Result) -> tuple[object, ...]:
    cell = result.cell
    return cell.slice, cell.defense.label, cell.seed, cell.draws


def _kept(results: list[Result], text: str, kind: str, label: Callable[[Result], str]) -> list[Result]:
    if not text:
        return results
    # Without parameters, in so many words: `atop[]` is `atop` and not `atop[rt=2]`.
    alone = {name.strip() for name in _ALONE.findall(text)}
    wanted = {request.label for request in parse_list(text, kind)}
    there = dict.fromkeys(name for result in results for name in _names(label(result)))
    for name in sorted(wanted):
        if name not in there:
            # An error instead of an empty table: a typo must not look like a missing result.
            raise unknown(f"stored {kind}", name, there)
    return [result for result in results if _is_wanted(label(result), wanted - alone, alone)]


def _is_wanted(label: str, wanted: set[str], alone: set[str]) -> bool:
    return label in alone or bool(wanted & set(_names(label)))


def _names(label: str) -> tuple[str, ...]:
    """Return the names that choose a label: `atop[rt=2]#new`, `atop[rt=2]`, `atop#new` and `atop`."""
    plain, hash_, given = label.partition("#")
    name = plain.partition("[")[0]
    return tuple(dict.fromkeys((label, plain, f"{name}{hash_}{given}", name)))


def _under(results: list[Result], wanted: Sequence[str]) -> list[Result]:
    # Parsed and printed again, so that Linf:16/510 also finds Linf:8/255.
    texts = [str(ThreatModel.parse(item)) if ":" in item else item for item in wanted]
    there = dict.fromkeys(name for result in results for name in (result.cell.threat.family, str(result.cell.threat)))
    for text in texts:
        if text not in there:
            raise unknown("stored threat", text, there)
    kept = [result for result in results if {result.cell.threat.family, str(result.cell.threat)} & set(texts)]
    if not kept:
        raise BenchError(f"--threat {','.join(wanted)} leaves nothing of what is stored: choose less")
    return kept
