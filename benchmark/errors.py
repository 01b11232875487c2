"""The one exception a user's mistake raises: printed as a single line, exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake in the request; the message names the value and the remedy."""


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that is not registered, with the nearest names."""
    names = sorted(known)
    by_case = {known_name.lower(): known_name for known_name in names}
    near = [by_case[match] for match in difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
    return BenchError(f"unknown {kind} {name!r}: {hint}")
