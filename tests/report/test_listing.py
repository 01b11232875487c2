"""What is registered, as text: what it says is what runs."""

import re

import pytest

from bench.catalogue import ATTACKS, DEFENSES, resolve, study
from bench.catalogue.request import parse_list
from bench.catalogue.weights import shipped
from bench.errors import BenchError
from bench.report.listing import about, listing, registered
from bench.threats import FAMILIES


def test_the_list_has_a_line_per_attack_with_group_threats_access_and_cost():
    told = listing("attacks")

    lines = told.splitlines()[1:]
    assert len(lines) == len(ATTACKS.names())
    stadv = next(line.split() for line in lines if line.startswith("stadv "))
    assert stadv[1:5] == ["non-lp", "stadv", "gradient", "101+101"]


def test_the_list_of_studies_tells_what_each_asks_compares_and_fixes():
    """Those that come with the package, in the words and options of their files."""
    told = listing("studies")

    lines = {line.split()[0]: line for line in told.splitlines()[1:]}
    claims, convergence, ladder = lines["atop-claims"], lines["convergence"], lines["ladder"]
    assert list(lines) == study.names()
    assert re.match(r"atop-table-linf +cells, 20 published  ", lines["atop-table-linf"])
    assert re.match(r"atop-claims +3 claims x 2 protocols +What AToP claims: ", claims)
    assert ": --defenses 'at,ap[rt=1],atop' --attacks blind,pgd-20," in claims
    assert "  6 rungs " in convergence
    assert "  4 rungs beside base " in ladder
    assert ladder.endswith(": --defenses ap,atop --attacks blind,bpda,pgd-20,pgd-eot-20")


@pytest.mark.parametrize("entry", list(ATTACKS), ids=lambda entry: entry.name)
def test_every_attack_can_be_shown(entry):
    """With the unit of every threat it is defined for."""
    text = about(entry.name, "digits")

    assert all(FAMILIES[family].unit in text for family in entry.families)
    for dataset, measured in entry.powerless.items():
        assert f"on {dataset}: {measured}" in text


@pytest.mark.parametrize("entry", list(DEFENSES), ids=lambda entry: entry.name)
def test_the_list_says_which_datasets_a_defense_can_run_on(entry):
    """Those, and no others, that its reference can be put together for."""
    told = listing("defenses")

    (line,) = (line for line in told.splitlines() if line.startswith(f"{entry.name} "))
    there_is = line.removeprefix(entry.name).split()[1].split(",")
    folders = sorted(path.name for path in shipped().iterdir())
    there = [name for name in folders if resolve.is_trained(entry.name, name, None)]
    assert there_is == (there or ["-"])


@pytest.mark.parametrize("dataset", ["imagenette-160[resize=64]", "imagenette-160-resize64"])
def test_weights_of_resized_images_are_found_under_the_name_in_their_path(dataset, tmp_path, monkeypatch):
    """The name that is typed has brackets, the folder has none; what the card says is shown."""
    monkeypatch.setattr("bench.catalogue.weights.shipped", lambda: tmp_path)
    (tmp_path / "imagenette-160-resize64").mkdir()
    (tmp_path / "imagenette-160-resize64" / "at.safetensors").write_bytes(b"1234")
    (tmp_path / "imagenette-160-resize64" / "at.json").write_text('{"note": "recompressed"}')

    lines = [line.strip() for line in about("at", dataset).splitlines()]

    assert "weights     at: 4 bytes" in lines
    assert lines[-1].split() == ["note", "recompressed"]


def test_a_defense_with_parameters_shows_the_checkpoints_it_would_take():
    text = about("atop[ft=clean,rt=2,classifier=at]", "digits")

    assert "atop-clean-rt2: " in text
    assert "at: " in text
    assert "atop-rt1" not in text
    assert "standard: " not in text


def test_what_it_stands_before_need_not_be_there_to_be_shown():
    """The checkpoints are those of the purifier alone."""
    text = about("ap[classifier=./mine.py:build]", "digits")

    assert "classifier=./mine.py:build" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("  weights")] == ["ap:"]


def test_a_defense_with_wrong_parameters_is_not_shown():
    with pytest.raises(BenchError, match="ft must be one of on, off, clean, paper"):
        about("atop[ft=some]", "digits")


def test_an_attack_with_parameters_shows_them_and_what_it_would_cost():
    text = about("pgd-20[steps=50,n_restarts=2]", "digits")

    (request,) = parse_list("pgd-20[steps=50,n_restarts=2]", "attack")
    _, ref = resolve.attack(request)
    assert f"at most {ref.forwards} forwards and {ref.backwards} backwards" in text
    assert ref.forwards > 2 * ATTACKS.get("pgd-20").forwards
    assert "steps=50" in text
    assert "n_restarts=2" in text


def test_a_parameter_of_the_entry_is_told_with_what_it_means():
    """The ones that a listing names are those that a request may set."""
    text = about("pgd-20")

    (request,) = parse_list("pgd-20[eot=3]", "attack")
    resolve.attack(request)
    assert "parameter   eot=1" in text
    assert "draws per gradient of a stochastic defense" in text


def test_the_plain_data_has_every_entry_of_the_text():
    data = registered()

    for kind in ("attacks", "defenses"):
        names = [row["name"] for row in data[kind]]
        assert registered(kind) == data[kind]
        assert [line.split()[0] for line in listing(kind).splitlines()[1:]][: len(names)] == names


def test_what_is_not_registered_is_one_line():
    with pytest.raises(BenchError, match=r"unknown name 'pgd-21'.*did you mean pgd-20"):
        about("pgd-21")
    with pytest.raises(BenchError, match="unknown list 'attack': did you mean attacks"):
        listing("attack")
