"""Text of other people on one line, without what a terminal or a page would obey."""

import pytest

from bench.report.plain import flat


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("two\nlines\tand\r more", "two lines and more"),
        ("\x1b[31mred\x07", "[31mred"),
        ("at‮pota", "atpota"),
        ("a​b\x00c\ud800", "abc"),
        ("Größe ε 大", "Größe ε 大"),
        ("", ""),
    ],
)
def test_only_what_prints_is_left(given, left):
    """Escape sequences lose the escape; overrides of direction, zero widths, nulls and half characters go."""
    assert flat(given) == left
