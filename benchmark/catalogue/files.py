"""Users' files, built in processes of their own, and what stands for one that cannot be built there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bench.catalogue import identity
from bench.catalogue.refs import AttackRef, DefenseRef
from bench.catalogue.registry import AttackEntry
from bench.catalogue.request import Request
from bench.errors import BenchError
from bench.machine.isolation import Answer, Call, Elsewhere, each_apart
from bench.threats import FAMILIES
from bench.types import ImageSpec

Made = TypeVar("Made")

# What became of each file, by label; `None` where no code of a user is to be executed.
Built = Mapping[str, Answer] | None


def built(files: Sequence[Request], function: str, spec: ImageSpec) -> Built:
    """Call a function of `bench.catalogue.user_file` with each file, several at once."""
    once = {item.label: item for item in files}
    where = f"bench.catalogue.user_file:{function}"
    calls = [Call(where, (item, spec), guest=item.name, tag=label) for label, item in once.items()]
    return {answer.call.tag: answer for answer in each_apart(calls)}


def defense(item: Request, built: Built) -> DefenseRef:
    """Return the defense that a file builds, as far as it is known."""

    def unknown(error: str) -> DefenseRef:
        return DefenseRef(item.short_label, item.name, _digest(item), config=dict(item.parameters), broken=error)

    return _made(item, built, unknown)


def attack(item: Request, built: Built) -> tuple[AttackEntry, AttackRef]:
    """Return the attack that a file builds, as far as it is known: one that is unknown may be for any family."""

    def unknown(error: str) -> tuple[AttackEntry, AttackRef]:
        entry = AttackEntry(item.short_label, item.name, cite="", summary="", families=tuple(FAMILIES))
        return entry, AttackRef(item.short_label, item.name, _digest(item), config=dict(item.parameters), broken=error)

    return _made(item, built, unknown)


def _made(item: Request, built: Built, unknown: Callable[[str], Made]) -> Made:
    """Return what was made of a file, or what stands for it where its code ended its process, hangs, or was not run."""
    if built is None:
        return unknown("")
    try:
        made: Made = built[item.label].result()
    except Elsewhere as error:
        if error.end is None:
            raise BenchError(f"{item.name!r} does not load: {error}; mend the file") from None
        return unknown(f"it does not load: {error}")
    return made


def _digest(item: Request) -> str:
    """Return the digest of a file that nothing is known of but its bytes.

    Raises:
        BenchError: there is no such file.
    """
    if not item.path.is_file():
        raise BenchError(f"no file {str(item.path)!r}: pass the path of a Python file with a function")
    return identity.of_text("unknown", identity.of_file(item.path), item.short_label)
