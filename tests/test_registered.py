"""`bench list` and `bench show`: what they say is what runs."""

import dataclasses
import subprocess
import sys

import pytest

from bench import selection
from bench.catalogue import ATTACKS, DEFENSES
from bench.cli.parameters import about, parameters
from bench.cli.registered import list_, show
from bench.errors import BenchError
from bench.families import FAMILIES
from bench.registry import load
from bench.request import parse_list

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


def test_the_list_has_a_line_per_attack_with_group_threats_access_and_cost(capsys):
    list_("attacks", as_json=False)

    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == len(ATTACKS.names())
    stadv = next(line.split() for line in lines if line.startswith("stadv "))
    assert stadv[1:5] == ["non-lp", "stadv", "gradient", "101+101"]


@pytest.mark.parametrize("entry", list(ATTACKS), ids=lambda entry: entry.name)
def test_every_attack_can_be_shown(entry, capsys):
    """With the unit of every threat it is defined for."""
    show(entry.name, "digits")

    text = capsys.readouterr().out
    assert all(FAMILIES[family].unit in text for family in entry.families)
    for dataset, measured in entry.powerless.items():
        assert f"on {dataset}: {measured}" in text


@pytest.mark.parametrize("entry", list(DEFENSES), ids=lambda entry: entry.name)
def test_the_list_says_which_datasets_a_defense_can_run_on(entry, capsys):
    """Those, and no others, that its reference can be put together for."""
    list_("defenses", as_json=False)

    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{entry.name} "))
    told = line.removeprefix(entry.name).split()[1].split(",")
    there = [name for name in ("cifar10", "cifar100", "digits") if selection.is_trained(entry.name, name, None)]
    assert told == (there or ["-"])


def test_a_defense_with_parameters_shows_the_checkpoints_it_would_take(capsys):
    show("atop[ft=clean,rt=2,classifier=at]", "digits")

    text = capsys.readouterr().out
    assert "atop-clean-rt2: " in text
    assert "at: " in text
    assert "atop-rt1" not in text
    assert "standard: " not in text


def test_what_it_stands_before_need_not_be_there_to_be_shown(capsys):
    """The checkpoints are those of the purifier alone."""
    show("ap[classifier=./mine.py:build]", "digits")

    text = capsys.readouterr().out
    assert "classifier=./mine.py:build" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("  weights")] == ["ap:"]


def test_a_defense_with_wrong_parameters_is_not_shown():
    with pytest.raises(BenchError, match="ft must be one of on, off, clean, paper"):
        show("atop[ft=some]", "digits")


def test_an_attack_with_parameters_shows_them_and_what_it_would_cost(capsys):
    show("pgd-20[steps=50,n_restarts=2]", "digits")

    text = capsys.readouterr().out
    (request,) = parse_list("pgd-20[steps=50,n_restarts=2]", "attack", {})
    _, ref = selection.attack(request)
    assert f"at most {ref.forwards} forwards and {ref.backwards} backwards" in text
    assert ref.forwards > 2 * ATTACKS.get("pgd-20").forwards
    assert "steps=50" in text
    assert "n_restarts=2" in text


def test_neither_imports_torch():
    code = (
        "import sys\n"
        "from bench.cli.registered import list_, show\n"
        "list_('all', False)\n"
        "show('stadv', 'digits')\n"
        "show('apgd-ce', 'digits')\n"
        "show('atop[rt=2]', 'digits')\n"
        "sys.exit('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
