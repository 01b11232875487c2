"""Text of other people, made harmless: labels and errors come from code that the harness does not know."""

from __future__ import annotations


def flat(text: str) -> str:
    """Return text on one line without control characters, directions of writing and other invisible ones."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())
