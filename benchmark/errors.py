"""Errors that are told to users: a mistake in a request (one line, exit status 2), or what broke a cell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# Names listed for one that is like none of them: a zoo has more than fit a line.
_SHOWN = 60


class BenchError(Exception):
    """A mistake in the request; the message names the value and the remedy."""


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that is not registered, with the nearest names."""
    names = sorted(known)
    by_case = {known_name.lower(): known_name for known_name in names}
    near = [by_case[match] for match in difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0.5)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names[:_SHOWN])}{more}"
    return BenchError(f"unknown {kind} {name!r}: {hint}")


class NoGradient(Exception):
    """A defense that an attack by gradient cannot differentiate; the message names what to run instead."""

    def __init__(self) -> None:
        super().__init__(_NO_GRADIENT)


_NO_GRADIENT = "no gradient: use square, rays or a surrogate"
# What torch says of a network that left its graph, or was never in one: a session of another runtime, numpy.
_WITHOUT_GRAPH = ("does not require grad", "that requires grad", "not have been used in the graph")


def is_no_gradient(error: str) -> bool:
    """Whether the line that became of an error, told by a stage or not, says that there was no gradient."""
    return error.endswith(_NO_GRADIENT)


@contextmanager
def differentiable() -> Iterator[None]:
    """Say in our words that a defense has no gradient; an error of another kind stays what it is."""
    try:
        yield
    except RuntimeError as error:
        if any(told in str(error) for told in _WITHOUT_GRAPH):
            raise NoGradient from error
        raise


class StageError(Exception):
    """One of several attacks of a cell broke; says which one, and how."""


def one_line(error: BaseException) -> str:
    """An error as one line of text without control characters: it goes into tables and files."""
    text = "".join(character if character.isprintable() else " " for character in str(error))
    text = " ".join(text.split())
    name = type(error).__name__
    if isinstance(error, StageError | NoGradient) or (text[:1] in "SV" and text[1:3].isdigit()):
        return text
    return f"{name}: {text[:300]}".rstrip(": ")
