"""A part of what is stored: by defense, attack, threat model and dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.cell import Result
from bench.errors import BenchError, unknown
from bench.request import parse_list
from bench.types import ThreatModel


@dataclass(frozen=True)
class Chosen:
    """What a command is to read of a results folder; an empty text chooses all.

    Attributes:
        defenses: labels, or names without their parameters: `at,atop` takes `atop[rt=2]` along.
        attacks: likewise.
        threat: families, or threat models: `Linf` takes every eps.
        dataset: one dataset.
    """

    defenses: str = ""
    attacks: str = ""
    threat: str = ""
    dataset: str = ""

    def of(self, results: Sequence[Result]) -> list[Result]:
        """The results that are chosen, in their order.

        Raises:
            BenchError: a name that nothing stored has, or nothing is left.
        """
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


def _kept(results: list[Result], text: str, kind: str, label: Callable[[Result], str]) -> list[Result]:
    if not text:
        return results
    wanted = {request.label for request in parse_list(text, kind, {})}
    there = dict.fromkeys(name for result in results for name in _names(label(result)))
    for name in sorted(wanted):
        if name not in there:
            raise unknown(f"stored {kind}", name, there)
    return [result for result in results if wanted & set(_names(label(result)))]


def _names(label: str) -> tuple[str, ...]:
    """`atop[rt=2]#new`, `atop[rt=2]`, `atop#new` and `atop`."""
    plain, hash_, given = label.partition("#")
    name = plain.partition("[")[0]
    return tuple(dict.fromkeys((label, plain, f"{name}{hash_}{given}", name)))


def _under(results: list[Result], wanted: Sequence[str]) -> list[Result]:
    texts = [str(ThreatModel.parse(item)) if ":" in item else item for item in wanted]
    there = dict.fromkeys(name for result in results for name in (result.cell.threat.family, str(result.cell.threat)))
    for text in texts:
        if text not in there:
            raise unknown("stored threat", text, there)
    kept = [result for result in results if {result.cell.threat.family, str(result.cell.threat)} & set(texts)]
    if not kept:
        raise BenchError(f"--threat {','.join(wanted)} leaves nothing of what is stored: choose less")
    return kept
