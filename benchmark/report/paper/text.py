"""Text for LaTeX: nothing in it is a command, and its width is known without running LaTeX.

Labels of defenses and attacks come from users, so every character that TeX gives a meaning is escaped, and a
character that pdflatex might not know is written as its code point.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import BenchError
from bench.threats import ThreatModel, show_fraction

LEQ, SEEN, IDLE = r"$\leq$", r"$^{*}$", r"$^{\sim}$"

_ESCAPES: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # In braces, for with a sign before it this would become an inverted one.
    "`": "{`}",
    '"': "{'}{'}",
    # At the start of a row a bracket would be read as the option of the line break before it, a star as its form.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    **{char: f"\\{char}" for char in "%_#&${}"},
}
# What stands over or below a letter in the encodings that pdflatex always has.
_ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0327"
_WHOLE = "ßæœøåÆŒØÅ"

# Widths of the letters of Computer Modern at ten points, in points.
_WIDTHS: Mapping[str, float] = {
    char: width
    for chars, width in (
        ("il,.;:!'|[]`", 2.78),
        ("ftj-", 3.89),
        ("r()sI", 3.95),
        ("cezv?xky", 5.28),
        ("aog0123456789/\\{}*", 5.28),
        ('bdhnpqu_JS"', 5.6),
        ("wABCDEFGHKLNOPQRTUVXYZ+=<>@&$~^", 7.9),
        ("mM%#W", 10.3),
        (" ", 3.4),
    )
    for char in chars
}
_WIDEST = 10.3
# A digit, exactly: numbers are most of a table.
_DIGIT = 5.0
# In mathematics: a dot with the space around it, and what stands in an exponent; smaller letters have wider ones.
_TIMES, _SCRIPT_DIGIT, _SCRIPT_MINUS = 7.5, 4.5, 7.5
_SIGNED = r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?"


@dataclass(frozen=True)
class Piece:
    """A piece of LaTeX that stands on one line.

    Attributes:
        latex: its source.
        width: at ten points, in points; never less than what LaTeX makes of it.
    """

    latex: str
    width: float


def plain(text: str) -> Piece:
    """Return text as LaTeX that prints it and does nothing else."""
    safe = _known(" ".join(text.split()))
    latex = "".join(_ESCAPES.get(char, char) for char in safe)
    # Two of these together would become one typographic sign.
    for sign in "-',":
        latex = latex.replace(sign * 2, f"{sign}{{}}{sign}{{}}")
    return Piece(latex, measured(safe))


def number(text: str) -> Piece:
    """Return a number, an interval or a word like FAIL; brackets need no guard where nothing ends a row before.

    A sign and a power of ten are mathematics: `-5.9` has a minus and no hyphen, `7.4e-08` is 7.4 times ten to the -8.
    """
    if re.fullmatch(_SIGNED, text):
        return _signed(text)
    if re.fullmatch(rf"\[{_SIGNED}, {_SIGNED}\]", text):
        low, high = map(_signed, text[1:-1].split(", "))
        return Piece(f"[{low.latex}, {high.latex}]", low.width + high.width + 2 * _WIDTHS["["] + measured(", "))
    width = sum(_DIGIT if char.isdigit() else _WIDTHS.get(char, _WIDEST) for char in text)
    return Piece(text if all(char in "0123456789.,[] -" for char in text) else plain(text).latex, width)


def _signed(text: str) -> Piece:
    """Return one number, with its sign or its power of ten as mathematics."""
    mantissa, _, power = text.partition("e")
    width = sum(_DIGIT if char.isdigit() else _WIDTHS["." if char == "." else "+"] for char in mantissa)
    if power:
        exponent = str(int(power))
        scripts = sum(_SCRIPT_DIGIT if char.isdigit() else _SCRIPT_MINUS for char in exponent)
        return Piece(rf"${mantissa}\cdot10^{{{exponent}}}$", width + _TIMES + 2 * _DIGIT + scripts)
    return Piece(f"${mantissa}$" if mantissa[0] in "+-" else mantissa, width)


def escaped(text: str) -> str:
    """Return text as LaTeX on one line."""
    return plain(text).latex


def measured(text: str) -> float:
    """Return the width of text at ten points, in points; an accented letter is as wide as the letter."""
    bare = (unicodedata.normalize("NFD", char)[0] for char in text)
    return sum(_WIDTHS.get(char, _WIDEST) for char in bare)


def _known(text: str) -> str:
    """Return text with every character that pdflatex may not know as its code point: `[U+4E2D]`."""
    found = []
    for char in text:
        parts = unicodedata.normalize("NFD", char)
        base, marks = parts[0], parts[1:]
        accented = len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha()
        if (char.isascii() and char.isprintable()) or accented or char in _WHOLE:
            found.append(char)
        elif char.isprintable():
            found.append(f"[U+{ord(char):04X}]")
    return "".join(found)


def wrapped(text: str, width: float) -> list[str]:
    """Break text into lines of at most `width` points at ten points: after a sign if it can be, else anywhere."""
    rest, lines = _known(" ".join(text.split())), []
    while rest and measured(rest) > width:
        fits = 1
        while fits < len(rest) and measured(rest[: fits + 1]) <= width:
            fits += 1
        # Never a line of a few letters for the sake of a sign.
        signs = [at for at in range(max(fits // 2, 1), fits + 1) if rest[at - 1] in " -_/:,.[]@#="]
        at = signs[-1] if signs else fits
        lines.append(rest[:at].strip())
        rest = rest[at:].strip()
    return [*lines, rest] if rest or not lines else lines


def threat(text: str) -> Piece:
    """Return a threat model as mathematics, if it is one: `Linf:8/255` as an l-infinity with its eps."""
    try:
        model = ThreatModel.parse(text)
    except BenchError:
        return plain(text)
    size = show_fraction(model.eps)
    norms = {"Linf": r"\ell_\infty", "L2": r"\ell_2", "L1": r"\ell_1", "L0": r"\ell_0"}
    if model.family in norms:
        return Piece(f"${norms[model.family]}$, ${size}$", 13 + 6.2 + measured(size))
    return Piece(f"{escaped(model.family)} ${size}$", measured(f"{model.family} {size}"))


def is_threat(text: str) -> bool:
    """Return whether text names a threat model."""
    try:
        ThreatModel.parse(text)
    except BenchError:
        return False
    return True


def widest(pieces: Sequence[Piece]) -> float:
    """Return the width of the widest of some lines, at ten points."""
    return max((piece.width for piece in pieces), default=0.0)
