"""What is read from the source of an attack is what its class says."""

import dataclasses

import pytest

from bench.catalogue import ATTACKS, resolve
from bench.catalogue.declared import declared
from bench.catalogue.registry import load
from bench.catalogue.request import parse_one
from bench.errors import BenchError
from bench.oracle.attack import cost_of

OWN = [entry for entry in ATTACKS if not entry.parts and entry.target.startswith("bench.attacks.")]
READ = [entry for entry in OWN if declared(entry.target) is not None]


def test_the_attacks_that_runs_and_checks_vary_are_among_them():
    names = {entry.name for entry in READ}

    assert {"pgd-20", "pgd-eot-20", "square", "square-eot", "apgd-ce", "bpda", "noise"} <= names


@pytest.mark.parametrize("entry", READ, ids=[entry.name for entry in READ])
def test_the_fields_are_those_of_the_class_and_it_computes_no_cost(entry):
    made = load(entry.target)

    assert dict(declared(entry.target)) == {field.name: field.default for field in dataclasses.fields(made)}
    assert cost_of(made(**entry.config)) is None


def answer(request):
    try:
        return resolve._configured(resolve.entry(request), request)
    except BenchError as error:
        return str(error)


VARIED = [
    (entry.name, key) for entry in READ for key in sorted(declared(entry.target)) if key in {*resolve._COUNTS, "eot"}
]


@pytest.mark.parametrize(("name", "key"), VARIED)
def test_with_numbers_of_rounds_both_ways_lead_to_the_same(name, key, monkeypatch):
    usual = {**declared(ATTACKS.get(name).target), **ATTACKS.get(name).config}[key]
    requests = [
        parse_one(f"{name}[{key}={value}]", "attack")
        for value in (-1, 0, 1, 2, 3, usual, 3 * int(usual) + 1, "x", "1.5")
    ]
    read = [answer(request) for request in requests]
    monkeypatch.setattr(resolve, "declared", lambda _target: None)

    assert read == [answer(request) for request in requests]


@pytest.mark.parametrize(
    "target", ["bench.attacks.lp.pgd:Nobody", "bench.attacks.nowhere:PGD", "torch:Tensor", "mine.py:build"]
)
def test_of_anything_else_nothing_is_read(target):
    assert declared(target) is None
