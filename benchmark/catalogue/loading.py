"""Loaders of the defenses and attacks that references name, called when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from bench.catalogue.identity import of_file
from bench.catalogue.refs import MEMORY, AttackRef, DefenseRef
from bench.catalogue.registry import load
from bench.errors import BenchError
from bench.oracle.attack import Attack
from bench.types import Defense, ImageSpec

# The loaders of other libraries' networks; what these answer is not vouched for here, so it is checked.
_BORROWED = "bench.defenses.adapters."


def load_defense(ref: DefenseRef, spec: ImageSpec) -> Defense:
    """Load the defense a reference names, once per process; a variant shares its modules."""
    from bench.oracle.variants import variant

    # Not through the cache, which would keep an object in memory alive after its run.
    load_ = _load_defense.__wrapped__ if ref.source.startswith(MEMORY) else _load_defense
    whole = load_(_ingredients(ref), spec)
    return variant(whole, ref.variant) if ref.variant else whole


class _Ingredients(NamedTuple):
    """Everything a defense is loaded from, as a key for the cache.

    The digest is part of it because a file may have changed under the same path.
    """

    digest: str
    source: str
    config: tuple[tuple[str, str], ...]
    checkpoints: tuple[tuple[str, str], ...]
    weights: tuple[tuple[str, str], ...]
    behind: _Ingredients | None
    label: str
    answers: str


def _ingredients(ref: DefenseRef) -> _Ingredients:
    # Recursive, because the model behind a purifier is cached like any other defense.
    behind = None if ref.behind is None else _ingredients(ref.behind)
    digest = ref.digest.removesuffix(f"@{ref.variant}")  # a variant shares the modules of the whole
    config, checkpoints, weights = (tuple(sorted(each.items())) for each in (ref.config, ref.checkpoints, ref.weights))
    return _Ingredients(digest, ref.source, config, checkpoints, weights, behind, ref.label, ref.answers)


@lru_cache(maxsize=8)
def _load_defense(of: _Ingredients, spec: ImageSpec) -> Defense:
    source, config = of.source, dict(of.config)
    if source.startswith(MEMORY):
        from bench.catalogue import in_memory

        lent: Defense = in_memory.find(source)
        return lent
    if source.partition(":")[0].endswith(".py"):
        from bench.catalogue import behaviour, brought, user_file

        found = brought.as_defense(user_file.build(source, config), source, spec)
        if of.answers:
            behaviour.require_same(of.answers, behaviour.of_defense(found, spec), of.label)
        return found
    files = {name: Path(path) for name, path in of.checkpoints}
    behind = {} if of.behind is None else {"behind": _load_defense(of.behind, spec)}
    for name, sha in of.weights:
        # A key names bytes: a file that was replaced since would file its verdicts under the old defense.
        if of_file(files[name]) != sha:
            raise BenchError(f"{files[name]} was changed while the run was under way: run again")
    defense: Defense = load(source)(checkpoints=files, spec=spec, **config, **behind)
    if source.startswith(_BORROWED):
        _require_as_declared(defense, config, spec)
    return defense


def _require_as_declared(defense: Defense, config: Mapping[str, str], spec: ImageSpec) -> None:
    """Check that another library's network returns logits, and is random exactly if it was declared so.

    Raises:
        BenchError: it is not as declared, or its answers are not logits of these classes for these images.
    """
    from bench.catalogue import brought

    name = str(config.get("arch", config.get("name", "it")))
    random = brought.draws_differ(defense.model, name, spec)
    if random != defense.stochastic:
        wrong, remedy = ("differ", "add") if random else ("do not differ", "leave out")
        raise BenchError(f"S03: the answers of {name} {wrong} from seed to seed: {remedy} [stochastic=true]")


def load_attack(ref: AttackRef) -> Attack:
    """Load the attack a reference names; an attack of several stages is run by `bench.harness.cascade` instead."""
    attack: Any
    if ref.source.startswith(MEMORY):
        from bench.catalogue import in_memory

        attack = in_memory.find(ref.source)
    elif ref.source.partition(":")[0].endswith(".py"):
        from bench.catalogue import user_file

        attack = user_file.build(ref.source, ref.config)
    else:
        attack = load(ref.source)(**ref.config)
    return attack  # type: ignore[no-any-return]
