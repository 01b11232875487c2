"""The provenance of the page: which runs asked, what the defenses and attacks are, and which code answered."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.datasets.imported import ACCESS
from bench.report.plain import flat
from bench.results.cell import Result
from bench.results.outcome import Done

# What the documents of cells say of their making, and the words for it.
_VERSIONS = {"atop-bench": "atop-bench", "torch": "torch", "python": "Python", "machine": "machine"}
_PARTS = {"harness": "code of the harness", "attack": "code of attacks", "defense": "code of defenses"}


@dataclass(frozen=True)
class Fact:
    """A name with its values, each with the number of cells that it holds for; 0 where it holds for all."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Subject:
    """A defense or an attack, as its key names it."""

    label: str
    source: str
    digest: str
    parameters: str
    about: str


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of one set of images come from.

    Attributes:
        command: asks for the same cells, as far as the keys say.
        facts: images, protocol, versions, code.
        defenses, attacks: with their digests.
    """

    command: str
    facts: tuple[Fact, ...]
    defenses: tuple[Subject, ...]
    attacks: tuple[Subject, ...]


def provenance(results: Sequence[Result], made: Mapping[str, Mapping[str, Any]]) -> Provenance:
    """Return the provenance of the results on one set of images with one seed.

    Args:
        results: at least one.
        made: by key, what the documents of the finished cells say of their making.
    """
    cells = [result.cell for result in results]
    done = [result for result in results if isinstance(result.outcome, Done)]
    told = [made.get(result.cell.key, {}) for result in done]
    facts = [
        Fact("digest of the images", _counted([cell.slice.digest for cell in cells])),
        Fact("protocol of the harness", _counted([cell.protocol or "not recorded" for cell in cells])),
        Fact("images per shard", _counted([str(cell.batch) for cell in cells])),
        Fact("format of the search", _counted([cell.searched_in for cell in cells])),
        *(
            Fact(name, _counted([str(each.get(key, "not recorded")) for each in told]))
            for key, name in _VERSIONS.items()
        ),
        *(
            Fact(name, _counted([result.code.get(part, "not recorded") for result in done]))
            for part, name in _PARTS.items()
        ),
    ]
    defenses = {cell.defense.digest: cell.defense for cell in cells}
    attacks = {(cell.attack.label, cell.attack.digest): cell.attack for cell in cells}
    return Provenance(
        _command(results),
        tuple(fact for fact in facts if fact.values),
        tuple(map(_defense, defenses.values())),
        tuple(map(_attack, attacks.values())),
    )


def _counted(values: Sequence[str]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for value in values:
        counts[flat(value)] = counts.get(flat(value), 0) + 1
    return tuple((value, count if len(counts) > 1 else 0) for value, count in counts.items())


def _command(results: Sequence[Result]) -> str:
    """Return the command that asks for these cells; weights and data are folders of somebody's, which no key names."""
    cells = [result.cell for result in results]
    first = cells[0]
    words = ["bench", "run", "--dataset", first.slice.dataset]
    words += ["--defenses", ",".join(dict.fromkeys(cell.defense.label for cell in cells))]
    attacked = [cell for cell in cells if cell.attack.access != ACCESS and not cell.threat.is_shift]
    words += ["--attacks", ",".join(dict.fromkeys(cell.attack.label for cell in attacked))]
    words += ["--threat", ",".join(dict.fromkeys(str(cell.threat) for cell in attacked))]
    words += ["--n", str(first.slice.n), "--seed", str(first.seed), "--batch", str(first.batch)]
    draws = max(cell.draws for cell in cells)
    words += ["--draws", str(draws)] if draws > 1 else []
    return shlex.join(map(flat, words))


def _defense(ref: DefenseRef) -> Subject:
    about = ["stochastic" if ref.stochastic else "deterministic"]
    about += [f"trained on {', '.join(map(str, ref.trained_on))}" if ref.trained_on else "no adversary in training"]
    about += [f"before {ref.behind.label}"] if ref.behind else []
    return Subject(ref.label, ref.source, ref.digest, _parameters(ref.config), "; ".join(map(flat, about)))


def _attack(ref: AttackRef) -> Subject:
    parts = " + ".join(stage.label for stage in (*ref.stages, *ref.reserve))
    about = f"access: {ref.access}" + (f"; parts: {parts}" if parts else "")
    return Subject(ref.label, ref.source, ref.digest, _parameters(ref.config), flat(about))


def _parameters(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, default=str, ensure_ascii=False) if config else ""
