"""The record of a defense, held against what it declares."""

import pytest
from torch import nn

from bench.catalogue.record import require_record
from bench.errors import BenchError
from bench.threats import ThreatModel
from bench.types import Card, Defense

NET = nn.Flatten()


def test_a_record_as_it_is_declared_passes():
    seen = (ThreatModel.parse("Linf:8/255"),)

    require_record(Defense(NET, True, seen, NET, NET, NET, NET, Card("mine")), "mine")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": 3}, "model of the Defense is 3"),
        ({"stochastic": 1}, "stochastic of the Defense is 1"),
        ({"trained_on": "Linf:0.1"}, "trained_on of the Defense is 'Linf:0.1'"),
        ({"trained_on": [ThreatModel.parse("Linf:0.1")]}, "trained_on of the Defense is"),
        ({"base": "at"}, "base of the Defense is 'at'"),
        ({"card": {}}, "card of the Defense is {}"),
    ],
)
def test_a_field_of_another_type_is_named(fields, said):
    with pytest.raises(BenchError, match="'mine': ") as caught:
        require_record(Defense(**{"model": NET} | fields), "mine")

    assert said in str(caught.value)
