"""Provenance of a cell that several machines made: nothing is lost, and nothing looks cheaper than it was."""

import itertools

from bench.results.provenance import code_of, several, states, together

ONE = {
    "code": {"harness": "aaa", "attack": "b+c", "defense": "d"},
    "torch": "2.12.0",
    "machine": "x86_64",
    "seconds": 1.25,
    "seal": "of the document it came from",
}
TWO = {**ONE, "torch": "2.13.0+cpu", "seconds": 2.5, "seal": "another"}


def test_of_one_machine_it_is_what_that_machine_says():
    assert together([ONE]) == {name: value for name, value in ONE.items() if name != "seal"}
    assert together([ONE, ONE])["torch"] == "2.12.0"
    assert several(together([ONE, ONE])) == []


def test_of_two_versions_both_are_told_and_the_seconds_added():
    made = together([ONE, TWO, ONE])

    assert made["torch"] == "2.12.0 and 2.13.0+cpu"
    assert states(made["torch"]) == ["2.12.0", "2.13.0+cpu"]
    assert made["seconds"] == 5.0
    assert several(made) == ["torch 2.12.0 and 2.13.0+cpu"]
    assert code_of(made) == {**ONE["code"], "torch": made["torch"]}


def test_neither_order_nor_grouping_matters():
    three = {**ONE, "code": {**ONE["code"], "harness": "zzz"}}
    expected = together([ONE, TWO, three])

    assert expected["code"]["harness"] == "aaa and zzz"
    for order in itertools.permutations([ONE, TWO, three]):
        assert together(order) == expected
        assert together([together(order[:2]), order[2]]) == expected


def test_a_shard_of_a_version_that_recorded_nothing_is_unknown_not_the_same():
    """Its seconds are unknown, too: the sum of the others would be too small."""
    made = together([ONE, {}])

    assert made["torch"] == "2.12.0 and unknown"
    assert made["code"]["harness"] == "aaa and unknown"
    assert "seconds" not in made
    assert together([{}, {}]) == {}
