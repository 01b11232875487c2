"""Whose code runs: ours has no name, that of others its source."""

from dataclasses import replace

import pytest

from bench.catalogue import DEFENSES
from bench.catalogue.guests import guest
from bench.catalogue.refs import MEMORY, AttackRef, DefenseRef

OURS = DefenseRef("at", "bench.defenses.at:load", "d")
MINE = DefenseRef("mine", "./mine.py:build", "d")
PGD = AttackRef("pgd", "bench.attacks.lp.pgd:PGD", "a")


@pytest.mark.parametrize("entry", list(DEFENSES), ids=lambda entry: entry.name)
def test_registered_defenses_are_no_guests(entry):
    assert guest(DefenseRef(entry.name, entry.target, "d"), PGD) == ""


def test_a_file_a_plug_in_and_what_stands_behind_or_beside_are_guests():
    assert guest(MINE, PGD) == "./mine.py:build"
    assert guest(OURS, replace(PGD, source="theirs.attacks:Best")) == "theirs.attacks:Best"
    assert guest(replace(OURS, behind=MINE), PGD) == "./mine.py:build"
    assert guest(OURS, replace(PGD, surrogate=MINE)) == "./mine.py:build"
    assert guest(MINE, replace(PGD, source="./b.py")) == guest(replace(MINE, source="./b.py"), MINE)


def test_an_attack_of_stages_is_as_strange_as_its_stages():
    cascade = AttackRef("both", "pgd + mine", "a", stages=(PGD,), reserve=(PGD,))

    assert guest(OURS, cascade) == ""
    assert guest(OURS, replace(cascade, reserve=(replace(PGD, source="./b.py"),))) == "./b.py"


def test_what_lives_in_memory_is_computed_here_and_is_no_guest():
    assert guest(replace(OURS, source=f"{MEMORY}mine"), PGD) == ""


@pytest.mark.parametrize("source", ["bench.py", "bench.py:build", "bench.mine.py"])
def test_a_file_is_a_guest_whatever_it_is_called(source):
    assert guest(replace(MINE, source=source), PGD) == source
    assert guest(OURS, replace(PGD, source=source)) == source
