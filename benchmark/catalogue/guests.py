"""Guests: code of others that a task runs. A process that has loaded one is not used for another."""

from __future__ import annotations

from bench.catalogue.refs import MEMORY, AttackRef, DefenseRef, is_file

_OURS = ("bench.", MEMORY)


def guest(*refs: DefenseRef | AttackRef) -> str:
    """Return the sources of all code of others that these references load, joined; empty where all of it is ours.

    Others are a user's file, and a plug-in of another package. What an adapter loads is known by its adapter.
    """
    return " + ".join(sorted({source for ref in refs for source in _sources(ref)}))


def files_of(*refs: DefenseRef | AttackRef) -> set[str]:
    """Return the sources among these that are files of a user."""
    sources = {source for ref in refs for source in _sources(ref)}
    return {source for source in sources if source.partition(":")[0].endswith(".py")}


def _sources(ref: DefenseRef | AttackRef) -> set[str]:
    if isinstance(ref, DefenseRef):
        inner: tuple[DefenseRef | AttackRef, ...] = () if ref.behind is None else (ref.behind,)
    else:
        inner = (*ref.stages, *ref.reserve, *(() if ref.surrogate is None else (ref.surrogate,)))
    # An attack of several stages has no code of its own.
    ours = ref.source.startswith(_OURS) and not is_file(ref.source)
    own = set() if ours or (isinstance(ref, AttackRef) and ref.stages) else {ref.source}
    return own.union(*map(_sources, inner))
