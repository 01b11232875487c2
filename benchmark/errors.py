"""Errors that are told to users: a mistake in a request (one line, exit status 2), or what broke a cell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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


class StageError(Exception):
    """One of several attacks of a cell broke; says which one, and how."""


def one_line(error: BaseException) -> str:
    """An error as one line of text without control characters: it goes into tables and files."""
    text = "".join(character if character.isprintable() else " " for character in str(error))
    text = " ".join(text.split())
    name = type(error).__name__
    if isinstance(error, StageError) or (text[:1] in "SV" and text[1:3].isdigit()):
        return text
    return f"{name}: {text[:300]}".rstrip(": ")
