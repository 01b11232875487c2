"""The parameters of an attack, read from its source without importing it."""

import dataclasses

import pytest

from bench.catalogue import ATTACKS
from bench.catalogue.parameters import about, parameters
from bench.catalogue.registry import load

TARGETS = sorted({entry.target for entry in ATTACKS if entry.target})


@pytest.mark.parametrize("target", TARGETS)
def test_the_parameters_shown_are_those_of_the_class(target):
    """Read from the source, they are the fields that Python finds, with the same defaults and a text each."""
    fields = {field.name: str(field.default) for field in dataclasses.fields(load(target))}

    shown = parameters(target, {})

    assert {each.name: each.default for each in shown} == fields
    assert all(each.about for each in shown), [each.name for each in shown if not each.about]
    assert about(target)


@pytest.mark.parametrize("entry", [entry for entry in ATTACKS if entry.target], ids=lambda entry: entry.name)
def test_what_the_catalogue_sets_is_shown(entry):
    shown = {each.name: each.default for each in parameters(entry.target, entry.config)}

    assert {key: str(value) for key, value in entry.config.items()}.items() <= shown.items()
