"""Errors shown to users: a mistake in a request (one line, exit status 2), or the failure of a cell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# Names listed where none is similar to the one given: a model zoo has more than fit on a line.
_SHOWN = 60
# Of a value in a message, in characters.
_LONGEST = 60


class BenchError(Exception):
    """A mistake in the request; the message, one line, names the value and the remedy."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_flat(str(message)))


def _flat(text: str) -> str:
    """Return text as one line that any terminal prints as it is: what users type may hold anything."""
    signs = (sign if sign.isprintable() or sign.isspace() else ascii(sign)[1:-1] for sign in text)
    return " ".join("".join(signs).split())


def brief(value: object) -> str:
    """Return a value for a message: on one line, and cut where it is long."""
    text = _flat(repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """Return the error for a name that is not registered, with the nearest names."""
    names = sorted(known)
    by_case = {known_name.lower(): known_name for known_name in names}
    near = [by_case[match] for match in difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0.5)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names[:_SHOWN])}{more}"
    return BenchError(f"unknown {kind} {brief(name)}: {hint}")


class NoGradient(Exception):
    """A gradient attack met a defense without a gradient; the message names what to run instead."""

    def __init__(self) -> None:
        super().__init__(_NO_GRADIENT)


_NO_GRADIENT = "no gradient: use square, rays or a surrogate"
# torch's messages where the logits have no graph: a network that detaches, computes in numpy or in another runtime.
_WITHOUT_GRAPH = ("does not require grad", "that requires grad", "not have been used in the graph")


def is_no_gradient(error: str) -> bool:
    """Return whether an error's line, with or without the name of a stage before it, says `NoGradient`."""
    return error.endswith(_NO_GRADIENT)


@contextmanager
def differentiable() -> Iterator[None]:
    """Raise `NoGradient` where torch finds no graph inside; other errors pass unchanged."""
    try:
        yield
    except RuntimeError as error:
        if any(told in str(error) for told in _WITHOUT_GRAPH):
            raise NoGradient from error
        raise


def shown(text: str) -> str:
    """Return text of other people as it may be shown on a screen, in its lines.

    Labels, paths and errors come from files and code that nobody has read. A control character moves the cursor,
    colors or clears the screen, or starts a command of the terminal; a direction of writing or a character without
    width makes a name look like another one. All of them are removed; other spaces become plain ones.
    """
    if text.isascii() and (text.isprintable() or text.replace("\n", "").isprintable()):
        return text
    return "".join(
        each if each in "\n\t" or each.isprintable() else " " if each.isspace() and each not in _BREAKS else ""
        for each in text
    )


# They are spaces to Python, but a terminal or a reader of files takes them for the end of a line, or worse.
_BREAKS = "\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029"


class StageError(Exception):
    """An attack of several in a cell failed; the message says which one and how."""


def one_line(error: BaseException) -> str:
    """Format an error as one line without control characters, for tables and files."""
    text, name = _plain(_said(error)), _plain(type(error).__name__)[:_LONGEST]
    # These messages name their origin (a stage, or a check such as S02); the class would only repeat it.
    if isinstance(error, StageError | NoGradient) or (text[:1] in "SV" and text[1:3].isdigit()):
        return text[:_LINE]
    return f"{name}: {text[:300]}".rstrip(": ") or "an error"


# Longer than any list of a cascade's stages with their errors: these are lines already, but anybody may write `S01`.
_LINE = 2000


def _said(error: BaseException) -> str:
    """Return the message of an error; code of others says what it is, and may raise while it does."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "its message cannot be read"


def _plain(text: str) -> str:
    # A message may hold a whole array: what is cut off is not looked at.
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 10 * _LINE]).split())


class Exited(BenchError):
    """Code of a user called `sys.exit`; the message says with what."""

    @classmethod
    def by(cls, error: SystemExit, where: str = "it") -> Exited:
        return cls(f"{where} called sys.exit({'' if error.code is None else repr(error.code)})")


class Terminated(SystemExit):
    """The end of a command by SIGTERM; no handler takes it for a `sys.exit` in the code of a user."""


class NondeterminismError(Exception):
    """A cell came out differently the second time; both answers are named, neither is overwritten."""
