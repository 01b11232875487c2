"""What is declared of a network of another library, from the text that is kept of it."""

import pytest

from bench.defenses.adapters.wanted import Found, Wanted, declared
from bench.threats import ThreatModel
from bench.types import ImageSpec


@pytest.mark.parametrize(
    ("told", "stochastic", "seen"),
    [
        ({}, False, []),
        ({"trained_on": "", "stochastic": "false"}, False, []),
        ({"trained_on": "Linf:8/255"}, False, ["Linf:8/255"]),
        ({"trained_on": "Linf:8/255+L2:0.5", "stochastic": "true"}, True, ["Linf:8/255", "L2:0.5"]),
        ({"stochastic": "yes", "repo": "me/net"}, False, []),
    ],
)
def test_only_what_was_vouched_for_is_declared(told, stochastic, seen):
    assert declared(told) == {"stochastic": stochastic, "trained_on": tuple(map(ThreatModel.parse, seen))}


def test_nobody_knows_is_not_the_same_as_nothing():
    """Of training: `None` gets a note and counts as unseen, an empty text is a claim."""
    assert Found({}, {}).trained_on is None
    assert Found({}, {}, trained_on="").trained_on == ""
    assert Wanted("net", {}, "cifar10", ImageSpec((3, 32, 32), 10)).folder is None
