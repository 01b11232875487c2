"""Passes per example as the text that documents hold: numbers only for whoever looks at them.

A table needs none of them, and there may be two for each of 50,000 examples in thousands of cells. As text they take
a few bytes each, and neither time to read nor to write again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import overload

_NUMBERS = re.compile(r"(?:\d+(?: \d+)*)?", re.ASCII)


class StoredPasses(Sequence[int]):
    """Numbers as text with a space between them; equal to any sequence of the same numbers.

    Attributes:
        text: as it is stored.

    Raises:
        ValueError: the text is anything else.
    """

    def __init__(self, text: str) -> None:
        if not _NUMBERS.fullmatch(text):
            raise ValueError("no numbers with a space between them")
        self.text = text

    @property
    def _numbers(self) -> tuple[int, ...]:
        return tuple(map(int, self.text.split()))

    def __len__(self) -> int:
        return self.text.count(" ") + 1 if self.text else 0

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...

    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        return self._numbers[at]

    # In one go: the inherited ones would read the whole text for each number.
    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._numbers == tuple(other)

    def __hash__(self) -> int:
        return hash(self._numbers)

    def __repr__(self) -> str:
        return repr(self._numbers)


def as_text(passes: Sequence[int]) -> str:
    """Return passes per example as documents hold them."""
    return passes.text if isinstance(passes, StoredPasses) else " ".join(map(str, passes))
