"""Truth where a part may be unknown."""

from __future__ import annotations

import pytest

from bench.checks.published.logic import both, either, negated


@pytest.mark.parametrize("a", [True, False, None])
@pytest.mark.parametrize("b", [True, False, None])
def test_an_unknown_part_leaves_open_what_it_could_change(a, b):
    """The three-valued answer is what all the ways to fill in the unknown agree on."""
    fillings = [(x, y) for x in (True, False) for y in (True, False) if a in (x, None) and b in (y, None)]
    for connective, boolean in ((both, lambda x, y: x and y), (either, lambda x, y: x or y)):
        answers = {boolean(x, y) for x, y in fillings}
        assert connective(a, b) is (answers.pop() if len(answers) == 1 else None)
    assert negated(a) is (None if a is None else not a)
