"""Three-valued logic (Kleene 1938): true, false, and not stated."""

from __future__ import annotations

# None is "not stated", and never taken for False: a claim that says nothing has not made a mistake.
Truth = bool | None


def both(*parts: Truth) -> Truth:
    """Return the conjunction: false as soon as one part is false, even if others are not stated."""
    if any(part is False for part in parts):
        return False
    return None if None in parts else True


def either(*parts: Truth) -> Truth:
    """Return the disjunction: true as soon as one part is true, even if others are not stated."""
    if any(part is True for part in parts):
        return True
    return None if None in parts else False


def negated(part: Truth) -> Truth:
    """Return the negation; what is not stated remains not stated."""
    return None if part is None else not part
