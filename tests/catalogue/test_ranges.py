"""No parameter of any attack, ours or a library's, may be set to what keeps it from attacking."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

from bench.catalogue import ATTACKS, ranges, resolve
from bench.catalogue.attack_libraries import LIBRARIES
from bench.catalogue.registry import load
from bench.catalogue.request import Request
from bench.cli import main
from bench.errors import BenchError


def ours():
    """Every number that can be set of an attack of ours, with its default."""
    for entry in ATTACKS:
        if entry.target.startswith("bench."):
            for field in dataclasses.fields(load(entry.target)):
                default = entry.config.get(field.name, field.default)
                if type(default) in (int, float):
                    yield entry.name, field.name, default


def theirs():
    """The same of the libraries that are installed here."""
    for prefix, library in LIBRARIES.items():
        for name in library.attacks:
            try:
                known = load(f"{library.target.partition(':')[0]}:parameters")(name)
            except BenchError:
                continue
            for key, (kind, default) in known.items():
                if kind in (int, float) and type(default) in (int, float, type(None)):
                    yield f"{prefix}:{name}", key, default


OURS = list(ours())


@pytest.fixture(scope="module")
def libraries():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(theirs())
    return found or pytest.skip("no library of attacks is installed here")


def refused(name, key, text):
    try:
        resolve.attack(Request(name, {key: text}), "digits")
    except BenchError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("text", ["-1", "-3"])
@pytest.mark.parametrize(("name", "key", "default"), OURS)
def test_nothing_of_ours_may_be_negative(name, key, default, text):
    """A step backwards walks towards the image it should leave."""
    assert f"{key} must be" in refused(name, key, text)


@pytest.mark.parametrize(("name", "key", "default"), OURS)
def test_what_is_positive_by_default_may_not_be_nothing(name, key, default):
    """No steps, steps of no size; what is 0 by default stays allowed."""
    told = refused(name, key, "0")

    assert ("could not attack" in told) is (default > 0)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("name", "key", "default"), [each for each in OURS if isinstance(each[2], float)])
def test_what_is_no_finite_number_is_refused(name, key, default, text):
    assert f"{key} must be a finite number" in refused(name, key, text)


def values(default):
    """What may not be set where this is the default."""
    found = ["-1"] if isinstance(default, int) else ["-1", "nan", "inf"]
    return found if default == 0 else [*found, "0"]


def test_the_same_holds_for_the_libraries(libraries):
    """Hundreds of parameters, of which nobody keeps a list."""
    asked = [(name, key, text) for name, key, default in libraries for text in values(default)]

    assert len(libraries) > 100
    assert [each for each in asked if "could not attack" not in refused(*each)] == []


def test_what_an_attack_is_by_default_is_never_refused(libraries):
    for name, key, default in (*OURS, *libraries):
        if default is not None:
            ranges.require(name, key, default, default)


@pytest.mark.parametrize(
    "asked",
    [
        "pgd-20[step_size=-0.1]",
        "pgd-20[step_size=0]",
        "pgd-20[momentum=nan]",
        "pgd-20[momentum=1.5]",
        "apgd-ce[rho=2]",
        "square[p_init=2]",
        "stadv[begin=7]",
        "jpeg-l1[share=1.5]",
    ],
)
def test_it_is_one_line_and_nothing_is_written(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["run", "--defenses", "at", "--attacks", asked, "--n", "4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bench: {asked.partition('[')[0]}[")
    assert "or the attack could not attack; it is" in line
    assert list(tmp_path.iterdir()) == []
