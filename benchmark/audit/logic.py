"""Three-valued logic (Kleene 1938): true, false, and what a claim does not state."""

from __future__ import annotations

Truth = bool | None


def both(*parts: Truth) -> Truth:
    """False as soon as one part is false, whatever the others would say."""
    if any(part is False for part in parts):
        return False
    return None if None in parts else True


def either(*parts: Truth) -> Truth:
    """True as soon as one part is true, whatever the others would say."""
    if any(part is True for part in parts):
        return True
    return None if None in parts else False


def negated(part: Truth) -> Truth:
    """What is not stated stays so."""
    return None if part is None else not part
