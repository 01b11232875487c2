"""Defenses and attacks that live in this process alone: an `nn.Module`, a `Defense` or an attack object."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.catalogue import behaviour
from bench.catalogue.brought import as_attack, as_defense, modules_of, of_state, recognizable
from bench.catalogue.identity import of_text
from bench.catalogue.refs import MEMORY, AttackRef, DefenseRef
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import InMemory
from bench.errors import BenchError
from bench.oracle.variants import offered
from bench.types import ImageSpec

# References are plain data, so the objects themselves stay here, under the source that a reference names.
_lent: dict[str, Any] = {}


@contextmanager
def lent(*things: InMemory) -> Iterator[None]:
    """Make these objects loadable by reference inside the block, and forget them afterwards."""
    sources = [_source(each) for each in things]
    _lent.update(zip(sources, (each.what for each in things), strict=True))
    try:
        yield
    finally:
        for source in sources:
            _lent.pop(source, None)


def find(source: str) -> Any:  # noqa: ANN401  (whatever was lent)
    """Return the object a source names.

    Raises:
        BenchError: it lives in another process, or belonged to a run that has ended.
    """
    if source not in _lent:
        raise BenchError(f"{source!r} lived in another process: hand it over again, or put it into a file")
    return _lent[source]


def defense_ref(item: InMemory, spec: ImageSpec) -> DefenseRef:
    """Return a reference to a defense in memory, known by its layers, its tensors and its answers.

    Raises:
        BenchError: its answers are not logits of these classes for these images.
    """
    defense = as_defense(item.what, item.label, spec)
    source = _source(item)
    _lent[source] = defense
    parts = [(repr(part), of_state(part)) for part in modules_of(defense)]
    return DefenseRef(
        label=item.label,
        source=source,
        digest=of_text("memory", item.label, parts),
        stochastic=defense.stochastic,
        trained_on=defense.trained_on,
        offers=offered(defense),
        answers=behaviour.of_defense(defense, spec),
    )


def attack_ref(item: InMemory, spec: ImageSpec) -> tuple[AttackEntry, AttackRef]:
    """Return a reference to an attack in memory, identified by its parameters, its source and what it proposes."""
    attack, source = as_attack(item.what, item.label), _source(item)
    try:
        text = inspect.getsource(type(attack))
    except (OSError, TypeError):  # typed at a prompt: what it proposes has to tell it apart
        text = ""
    _lent[source] = attack
    return recognizable(attack, item.label, source, of_text("memory", item.label, repr(attack), text), spec)


def _source(item: InMemory) -> str:
    return f"{MEMORY}{item.label}-{id(item.what):x}"
