"""Which threat models a run is about: those named, at the sizes given, or the usual ones."""

import pytest

from bench import matrix
from bench.datasets.load import HEADLINE, threat
from bench.errors import BenchError
from bench.families import FAMILIES
from bench.types import CORRUPTION


def threats(text, eps="", attacks="default", dataset="digits"):
    found = matrix.threats(text, eps, attacks, HEADLINE, lambda family: threat(family, dataset))
    return [str(each) for each in found]


@pytest.mark.parametrize(
    ("text", "eps", "shown"),
    [
        ("", "2/255,0.1", ["Linf:2/255", "Linf:0.1"]),
        ("L2", "0.5,1", ["L2:0.5", "L2:1"]),
        ("L2:7", "0.5", ["L2:0.5"]),
        ("jpeg-linf", "0.5,1", ["jpeg-linf:0.5", "jpeg-linf:1"]),
        ("Linf:0.1,L2:1", "", ["Linf:0.1", "L2:1"]),
        ("linf, L2:3", "", ["Linf:0.2", "L2:3"]),
        ("", "", ["Linf:0.2", "L2:1", "stadv:0.4"]),
    ],
)
def test_a_family_is_taken_at_its_usual_size_or_at_those_given(text, eps, shown):
    assert threats(text, eps) == shown


def test_a_sweep_of_two_families_is_a_mistake():
    with pytest.raises(BenchError, match="a list for one family"):
        threats("Linf,L2", "0.1")


def test_a_family_nobody_knows_is_named_with_its_neighbor():
    with pytest.raises(BenchError, match=r"'recolour'.*did you mean recolor"):
        threats("recolour")


def test_all_attacks_bring_every_family_at_its_usual_size():
    found = threats("", attacks="all", dataset="cifar10")

    assert [each.partition(":")[0] for each in found] == [
        *HEADLINE,
        *(name for name in FAMILIES if name not in (*HEADLINE, CORRUPTION)),
    ]
    assert found[:3] == ["Linf:8/255", "L2:0.5", "stadv:0.8"]
    assert f"recolor:{FAMILIES['recolor'].eps[1]}" in found


def test_a_named_attack_brings_its_family_only_where_no_other_fits():
    assert threats("", attacks="pgd-20") == ["Linf:0.2", "L2:1", "stadv:0.4"]
    assert threats("", attacks="pgd-20,elastic")[3:] == [f"elastic:{FAMILIES['elastic'].eps[0]}"]
