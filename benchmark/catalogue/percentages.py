"""Accuracies as they were printed: percent, with every decimal kept, because 70.10 is not 70.1."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from bench.errors import BenchError

# No honest accuracy has more, so that any file gives an error instead of filling the memory.
MOST_DECIMALS = 6


def decimals(accuracy: Decimal) -> int:
    """Count the digits that were printed after the decimal point."""
    # Only NaN and infinity have an exponent that is not an int.
    exponent = accuracy.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def as_printed(key: str, value: object) -> Decimal:
    """Read percent as printed, from text, a whole number or a `Decimal`, and keep trailing zeros.

    Args:
        key: what the value is called, for errors.
        value: as TOML gives it if it is parsed with `parse_float=Decimal`; a float has lost its decimals.

    Raises:
        BenchError: no number from 0 to 100, or one that looks like a share.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise BenchError(f"{key} = {shown(value)} is no accuracy: write percent as printed, such as 72.85")
    try:
        accuracy = Decimal(value)
    except InvalidOperation:
        accuracy = Decimal("nan")
    if not accuracy.is_finite() or not 0 <= accuracy <= 100:
        raise BenchError(f"{key} = {shown(value)} is no accuracy: write percent from 0 to 100, such as 72.85")
    digits = decimals(accuracy)
    if digits > MOST_DECIMALS:
        raise BenchError(f"{key} = {shown(value)} has {digits} decimals: write at most {MOST_DECIMALS}")
    if 0 < accuracy < 1 and digits > 2:
        raise BenchError(f"{key} = {shown(value)} looks like a share: write percent, such as {100 * accuracy:.2f}")
    # abs() makes -0 a 0; quantize() writes 1E+1 out as 10.
    return abs(accuracy.quantize(Decimal(1).scaleb(-digits)))


def shown(value: object) -> str:
    """Format a value for a message: short, on one line."""
    try:
        text = repr(value) if isinstance(value, str) else str(value)
    except ValueError:  # an integer too long to print
        text = "a very long number"
    return text if len(text) <= 40 else f"{text[:37]}..."
