"""Text of other people, made harmless: labels and errors come from code that the harness does not know."""

from __future__ import annotations

import json


def flat(text: str) -> str:
    """Return text on one line without control characters, directions of writing and other invisible ones."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def json_text(told: object) -> str:
    """Return data as indented JSON whose text is readable in any script and holds no invisible character as it is.

    Such a character is an escape sequence of JSON, so that a program reads it and a terminal does not.
    """
    text = json.dumps(told, indent=1, ensure_ascii=False)
    return "".join(each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text)
