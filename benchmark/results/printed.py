"""Tests of a printed accuracy by its n: whether some k of n rounds to it, and its interval.

A mean over draws or runs is k / (n * draws), so its grid is finer, but its interval still counts n examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bench.catalogue.percentages import decimals
from bench.results.stats import Interval, clopper_pearson, wilson

# The usual sizes of evaluations; an n that is not stated is most likely one of them.
USUAL_SIZES = (64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024, 2000, 2048, 5000, 10_000)
# The size of the CIFAR-10 test set; from there on two decimals allow every number anyway.
LARGEST_SEARCHED = 10_000


def counts(printed: Decimal, cells: int) -> range:
    """Return every k for which 100 k / cells rounds to the printed percentage, half up or half to even.

    With S = 100 * 10^decimals and P the printed digits, |S k / cells - P| <= 1/2. Both ends may be ties:
    half up takes the lower one, half to even takes both where P is even.
    """
    digits, scale = _digits(printed)
    # Integers throughout: in floating point a tie would be decided by an error of the last bit.
    low = -((1 - 2 * digits) * cells // (2 * scale))
    high = (2 * digits + 1) * cells // (2 * scale)
    if 2 * scale * high == (2 * digits + 1) * cells and digits % 2:
        high -= 1
    return range(max(0, low), min(cells, high) + 1)


def nearest_count(printed: Decimal, cells: int) -> int:
    """Return the k whose share is closest to the printed number."""
    digits, scale = _digits(printed)
    return (2 * digits * cells + scale) // (2 * scale)


def truncated_count(printed: Decimal, cells: int) -> int | None:
    """Return the k whose share, truncated instead of rounded, is the printed number; None where there is none."""
    digits, scale = _digits(printed)
    k = -(-digits * cells // scale)
    return k if scale * k // cells == digits else None


def _digits(printed: Decimal) -> tuple[int, int]:
    """Return the printed digits without their point, and 100 % in the same unit."""
    places = decimals(printed)
    return int(printed.scaleb(places)), 100 * 10**places


@dataclass(frozen=True)
class PrintedNumber:
    """A printed accuracy with what its n says about it.

    Attributes:
        name: `robust`, `standard`, or the name of an attack or defense.
        printed: the number in percent.
        n: examples; None where not stated.
        per_example: the verdicts per example that it averages.
    """

    name: str
    printed: Decimal
    n: int | None
    per_example: int = 1

    @property
    def cells(self) -> int | None:
        return None if self.n is None else self.n * self.per_example

    @property
    def possible(self) -> bool | None:
        """Return whether some k of n rounds to the number; None without n."""
        return None if self.cells is None else len(counts(self.printed, self.cells)) > 0

    @property
    def any_number_is(self) -> bool:
        """Return whether n is so large that every number is possible: the grid is as fine as the decimals."""
        return self.cells is not None and self.cells >= _digits(self.printed)[1]

    @property
    def count(self) -> int | None:
        """Return the k closest to the number, possible or not; None without n."""
        return None if self.cells is None else nearest_count(self.printed, self.cells)

    def successes(self, n: int) -> float:
        """Return the robust examples out of n; a fraction where the number is a mean of draws."""
        return nearest_count(self.printed, n * self.per_example) / self.per_example

    def wilson(self, n: int) -> Interval:
        return wilson(self.successes(n), n)

    @property
    def exact(self) -> Interval | None:
        """Return the Clopper-Pearson interval; None for a mean of draws, whose count is no whole number."""
        if self.n is None or self.per_example > 1:
            return None
        return clopper_pearson(nearest_count(self.printed, self.n), self.n)

    @property
    def neighbours(self) -> tuple[int, ...]:
        """Return the k on either side of an impossible number; empty where the number is possible."""
        if self.cells is None or self.possible:
            return ()
        digits, scale = _digits(self.printed)
        below = digits * self.cells // scale
        return below, below + 1

    def share(self, k: int) -> str:
        """Format a share as `199/512 = 38.867`, with one decimal more than printed, which shows the rounding."""
        assert self.cells is not None  # noqa: S101  (a share needs its n)
        return f"{k}/{self.cells} = {Decimal(100 * k) / self.cells:.{decimals(self.printed) + 1}f}"

    def to_json(self) -> dict[str, Any]:
        """Return everything derived from n, with intervals in percent."""
        wide = None if self.n is None else self.wilson(self.n)
        return {
            "name": self.name,
            "printed": str(self.printed),
            "n": self.n,
            "verdicts_per_example": self.per_example,
            "possible": self.possible,
            "counts": list(counts(self.printed, self.cells))[:10] if self.cells else [],
            "nearest": [self.share(k) for k in self.neighbours],
            "wilson": None if wide is None else percent(wide),
            "clopper_pearson": None if self.exact is None else percent(self.exact),
            "possible_n": [] if self.possible else possible_sizes([self]),
        }


def sizes(numbers: Sequence[PrintedNumber]) -> list[int]:
    """List every n up to 10,000 at which all of the printed numbers are possible."""
    return [n for n in range(1, LARGEST_SEARCHED + 1) if all(counts(it.printed, n * it.per_example) for it in numbers)]


def possible_sizes(numbers: Sequence[PrintedNumber], few: int = 5) -> list[int]:
    """List the smallest few of these n, and the usual ones."""
    found = sizes(numbers)
    return sorted({*found[:few], *(n for n in found if n in USUAL_SIZES)})


def percent(interval: Interval) -> list[float]:
    """Convert an interval to percent, to two decimals."""
    return [round(100 * interval.low, 2), round(100 * interval.high, 2)]
