"""The table of model libraries against the adapters that it names."""

import inspect
import shlex

import pytest

from bench.catalogue.model_libraries import LIBRARIES, library
from bench.catalogue.registry import load
from bench.catalogue.request import parse_one
from bench.errors import BenchError


def test_a_prefix_is_what_stands_before_the_first_colon():
    assert library("hf:OWNER/REPO") == ("hf", LIBRARIES["hf"])
    assert library("timm") == ("timm", LIBRARIES["timm"])


def test_an_unknown_library_is_answered_with_its_neighbour():
    with pytest.raises(BenchError, match="unknown library of defenses 'tim': did you mean timm"):
        library("tim:resnet18")


@pytest.mark.parametrize("prefix", LIBRARIES)
def test_every_adapter_has_what_the_catalogue_calls(prefix):
    """`find` and `facts` by name, and a loader that takes checkpoints and images."""
    adapter = load(f"{LIBRARIES[prefix].adapter}:find").__module__

    assert adapter == LIBRARIES[prefix].adapter
    assert list(inspect.signature(load(f"{adapter}:facts")).parameters) == ["name", "parameters"]
    assert {"checkpoints", "spec"} <= set(inspect.signature(load(LIBRARIES[prefix].target)).parameters)


@pytest.mark.parametrize("prefix", LIBRARIES)
def test_every_example_is_of_its_library_and_has_parameters_there_are(prefix):
    told = LIBRARIES[prefix]

    request = parse_one(told.example, "defense")

    assert library(request.name) == (prefix, told)
    assert set(request.parameters) <= set(told.parameters)
    assert set(told.choices) <= set(told.parameters)
    assert shlex.split(told.install)[:2] == ["pip", "install"]
