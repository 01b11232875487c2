"""Passes as text: the same numbers, and the same bytes again."""

import random

import pytest

from bench.results.passes import StoredPasses, as_text


@pytest.mark.parametrize("numbers", [(), (0,), (7, 0, 12), tuple(random.Random(0).choices(range(10**6), k=500))])
def test_they_are_the_numbers_that_were_written(numbers):
    stored = StoredPasses(as_text(numbers))

    assert tuple(stored) == numbers
    assert stored == numbers
    assert len(stored) == len(numbers)
    assert stored[1:3] == numbers[1:3]
    assert sum(stored) == sum(numbers)
    assert as_text(stored) == " ".join(map(str, numbers))


def test_other_numbers_are_not_equal_to_them():
    stored = StoredPasses("1 2")

    assert stored != (1, 3)
    assert stored != (1, 2, 0)
    assert stored == StoredPasses("1 2")
    assert len({stored, StoredPasses("1 2")}) == 1
    assert stored[-1] == 2


@pytest.mark.parametrize("text", [" ", "1 ", " 1", "1  2", "1,2", "-1", "1.5", "a", "1\n2", "\u0661"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="no numbers"):
        StoredPasses(text)
