"""A list on the command line: split, named, converted."""

from bench.catalogue import ATTACKS
from bench.catalogue.request import expanded, parse_list


def test_a_list_is_split_at_its_commas_but_not_inside_brackets():
    requests = parse_list("at, pgd-20[steps=5,n_restarts=2],./my,dir.py:f", "attack")

    assert [request.label for request in requests[:2]] == ["at", "pgd-20[n_restarts=2,steps=5]"]


def test_all_means_everything_registered():
    labels = [request.label for request in expanded(parse_list("all", "attack"), "attack", {"all": ATTACKS.names()})]

    assert labels == ATTACKS.names()
